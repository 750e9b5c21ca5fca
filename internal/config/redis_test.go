package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/app"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// Whatever the store would refuse about Redis, the check refuses, with the place and without the password.
func TestLoad_RefusesRedis(t *testing.T) {
	garbage := write(t, "garbage.pem", "garbage")
	file := write(t, "url", "redis://:hunter2@redis/9\n")
	bad := write(t, "bad", "redis://:hunter2@redis/abc\n")
	for yaml, want := range map[string]string{
		"url: redis://:hunter2@redis/abc":                            `redis.url: •••• has the database "abc"`,
		"url: redis://redis:99999":                                   `redis.url: •••• has the port "99999"`,
		"url: redis://":                                              "redis.url: •••• names no host",
		"url: redis://redis/-1":                                      `redis.url: •••• has the database "-1"`,
		"url: redis://redis?protocol=3":                              `redis.url: •••• has the parameter "protocol"`,
		"url: redis+sentinel://redis":                                "redis.url: •••• names no master",
		"url: redis+cluster://redis/1":                               "redis.url: •••• names the database",
		"url: unix://redis.sock":                                     "redis.url: •••• names no socket",
		"{url: redis://redis, prefix: \"\"}":                         "redis.prefix: is empty",
		"{url: redis://redis, prefix: \"a{b\"}":                      "redis.prefix: \"a{b\" is not a name",
		"url_file: " + bad:                                           `redis.url: •••• has the database "abc"`,
		"url_file: /nowhere":                                         "redis.url_file: stat /nowhere",
		"{url: redis://redis, url_file: " + file + "}":               `"redis.url" and "redis.url_file" say the same thing`,
		"{url: redis://redis, sentinel_password: hunter2}":           "redis.sentinel_password: has no effect",
		"{url: redis+cluster://redis, sentinel_username: ada}":       "redis.sentinel_username: has no effect",
		"{url: redis+sentinel://redis/main, sentinel_username: a}":   "redis.sentinel_username: needs redis.sentinel_password",
		"{url: redis://redis, ca_file: " + garbage + "}":             "redis.ca_file: has no effect",
		"{url: rediss://redis, ca_file: " + garbage + "}":            "redis.ca_file: " + garbage + " holds no certificate",
		"{url: rediss://redis, ca_file: /nowhere}":                   "redis.ca_file: stat /nowhere",
		"{url: rediss://redis, cert_file: " + garbage + "}":          "redis.cert_file: cert_file and key_file are set together",
		"{url: rediss://redis, key_file: " + garbage + "}":           "redis.key_file: cert_file and key_file are set together",
		"{url: redis://redis, key_file: a, cert_file: b}":            "redis.cert_file: has no effect",
		"{url: rediss://redis, key_file: a, cert_file: " + bad + "}": "redis.cert_file: load",
		"{sentinel_password: hunter2}":                               "redis.sentinel_password: has no effect",
	} {
		t.Run(want, func(t *testing.T) {
			_, err := app.Load(config.Sources{Files: []string{write(t, "t.yaml", "dev: true\nredis:\n  "+yaml+"\n")}})
			var p config.Problems
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error is %v, not %q", err, want)
			}
			if !errors.As(err, &p) || !strings.Contains(p[0].Where, "t.yaml:3:") {
				t.Errorf("the problem has no place: %+v", p)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

// A URL in a file is read like one that is written down, wherever the file is named. It stays named, to be read again.
func TestLoad_KeepsTheFileOfAURL(t *testing.T) {
	path := write(t, "url", "redis://:hunter2@redis/9\r\n")
	named := write(t, "a.yaml", "dev: true\nredis: {url_file: "+path+"}\n")
	written := write(t, "b.yaml", "dev: true\nredis: {url: \"redis://b\"}\n")
	const want = "redis://:hunter2@redis/9"
	for _, c := range []struct {
		name      string
		src       config.Sources
		url, file string
	}{
		{"file", config.Sources{Files: []string{named}}, want, path},
		{"variable", config.Sources{Files: []string{written}, Env: []string{"TRUNKLINE_REDIS_URL_FILE=" + path}}, want, path},
		{"flag", config.Sources{Files: []string{written}, Flags: []config.Flag{{Name: "--set", Key: "redis.url_file", Text: path}}}, want, path},
		{"a later URL", config.Sources{Files: []string{named, written}}, "redis://b", ""},
		{"a later URL in a variable", config.Sources{Files: []string{named}, Env: []string{"TRUNKLINE_REDIS_URL=redis://c"}}, "redis://c", ""},
		{"a later URL in a flag", config.Sources{
			Env: []string{"TRUNKLINE_DEV=1", "TRUNKLINE_REDIS_URL_FILE=" + path}, Flags: []config.Flag{{Name: "--redis", Key: "redis.url", Text: "redis://d"}},
		}, "redis://d", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := app.Load(c.src)
			testkit.Check(t, err)
			if r := l.Config.Redis; r.URL.Reveal() != c.url || r.URLFile != c.file || l.Config.Store() != config.InRedis {
				t.Errorf("url %q, file %q", r.URL.Reveal(), r.URLFile)
			}
			for _, v := range l.Values() {
				if strings.Contains(v.Value, "hunter2") {
					t.Errorf("%s shows a secret", v.Key)
				}
			}
		})
	}
	l, err := app.Load(config.Sources{Files: []string{named}})
	testkit.Check(t, err)
	testkit.Check(t, os.WriteFile(path, []byte("redis://:rotated@redis/9\n"), 0o600))
	if text, err := l.Config.Redis.Reread(); err != nil || text != "redis://:rotated@redis/9" {
		t.Errorf("read again: %q, %v", text, err)
	}
}
