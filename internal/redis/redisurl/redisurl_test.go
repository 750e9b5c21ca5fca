package redisurl_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/trunkline/trunkline/internal/redis/redisurl"
)

func TestParse(t *testing.T) {
	long := "/" + strings.Repeat("s", 106)
	for text, want := range map[string]redisurl.URL{
		"redis://redis":                          {Hosts: []string{"redis:6379"}},
		"redis://redis/":                         {Hosts: []string{"redis:6379"}},
		"REDIS://redis:7000/3":                   {Hosts: []string{"redis:7000"}, DB: 3},
		"redis://redis?db=3":                     {Hosts: []string{"redis:6379"}, DB: 3},
		"redis://redis/3?db=3":                   {Hosts: []string{"redis:6379"}, DB: 3},
		"redis://[::1]:7000/1":                   {Hosts: []string{"[::1]:7000"}, DB: 1},
		"redis://[fe80::1%25eth0]":               {Hosts: []string{"[fe80::1%eth0]:6379"}},
		"redis://[::1]":                          {Hosts: []string{"[::1]:6379"}},
		"rediss://r.example.com:6380":            {Hosts: []string{"r.example.com:6380"}, TLS: true},
		"redis://ada:s%40%3A%2F%23%25@h_1":       {Hosts: []string{"h_1:6379"}, User: "ada", Password: "s@:/#%"},
		"redis://:a:b+c=d@h":                     {Hosts: []string{"h:6379"}, Password: "a:b+c=d"},
		"redis+sentinel://:p@a,b:26380/main/2":   {Shape: redisurl.Sentinel, Hosts: []string{"a:26379", "b:26380"}, Master: "main", DB: 2, Password: "p"},
		"rediss+sentinel://a/main":               {Shape: redisurl.Sentinel, Hosts: []string{"a:26379"}, Master: "main", TLS: true},
		"redis+sentinel://a/main?db=1":           {Shape: redisurl.Sentinel, Hosts: []string{"a:26379"}, Master: "main", DB: 1},
		"redis+cluster://a:1,b:2,a:1":            {Shape: redisurl.Cluster, Hosts: []string{"a:1", "b:2"}},
		"rediss+cluster://u:p@a/0":               {Shape: redisurl.Cluster, Hosts: []string{"a:6379"}, TLS: true, User: "u", Password: "p"},
		"unix:///run/redis.sock":                 {Socket: "/run/redis.sock"},
		"unix://u:p@/run/redis.sock?db=2":        {Socket: "/run/redis.sock", User: "u", Password: "p", DB: 2},
		"redis+unix://:p@/run/a%40b%20c%3F.sock": {Socket: "/run/a@b c?.sock", Password: "p"},
		"unix://" + long:                         {Socket: long},
	} {
		got, err := redisurl.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
}

// Each mistake is named, and nothing that may be a password is repeated.
func TestParse_refuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         "begins with redis://",
		"hunter2":                                  "begins with redis://",
		"redis:hunter2":                            "begins with redis://",
		"http://u:hunter2@redis":                   "begins with redis://",
		"hunter2://redis":                          "begins with redis://",
		"redis://":                                 "names no host",
		"redis://:hunter2@":                        "names no host",
		"redis://:hunter2@/0":                      "names no host",
		"redis://:hunter2@:6379":                   "without a host",
		"redis://u:hunter2@redis:99999":            `port "99999"`,
		"redis://redis:0":                          `port "0"`,
		"redis://redis:":                           `port ""`,
		"redis://redis:port":                       `port "port"`,
		"redis://redis:+1":                         `port "+1"`,
		"redis://redis/abc":                        `database "abc"`,
		"redis://redis/-1":                         `database "-1"`,
		"redis://redis/+1":                         `database "+1"`,
		"redis://redis/1.5":                        `database "1.5"`,
		"redis://redis/99999999999":                `database "99999999999"`,
		"redis://redis/0/1":                        `database "0/1"`,
		"redis://redis?db=x":                       `database "x"`,
		"redis://redis?db=":                        "",
		"redis://redis/1?db=2":                     "two databases",
		"redis://redis?db=1&db=2":                  "twice",
		"redis://redis?password=hunter2":           `parameter "password"`,
		"redis://redis?ssl_cert_reqs=none":         `parameter "ssl_cert_reqs"`,
		"redis://redis?%zz":                        "parameters that cannot be read",
		"redis://redis?a;b":                        "parameters that cannot be read",
		"redis://redis#hunter2":                    "fragment",
		"redis://a:1,b:2":                          "several hosts",
		"redis://a,":                               "without a host",
		"redis://::1":                              "brackets",
		"redis://[::1":                             "brackets",
		"redis://[redis]":                          "brackets",
		"redis://[127.0.0.1]":                      "brackets",
		"redis://re dis":                           "no host has",
		"redis://rédis":                            "no host has",
		"redis://re\ndis":                          "no host has",
		"redis://re*":                              "no host has",
		"redis://u:hunter2#x@redis":                "percent-encoded",
		"redis://u:hun@ter2@redis":                 "percent-encoded",
		"redis://u:hun/ter2@redis":                 "percent-encoded",
		"redis://u:hun?ter2@redis":                 "percent-encoded",
		"redis://u:hun ter2@redis":                 "percent-encoded",
		"redis://u:hun\tter2@redis":                "percent-encoded",
		"redis://u:hunter2%@redis":                 "percent-encoded",
		"redis://hunter2@redis":                    "without a password",
		"redis+sentinel://:hunter2@a:1":            "names no master",
		"redis+sentinel://a:1/":                    "names no master",
		"redis+sentinel://a:1//0":                  "names no master",
		"redis+sentinel://a:1/main/x":              `database "x"`,
		"redis+sentinel://a:1/main/1/2":            `database "1/2"`,
		"redis+sentinel:///main":                   "names no host",
		"redis+cluster://a:1/1":                    "database 0 alone",
		"redis+cluster://a:1?db=1":                 "database 0 alone",
		"redis+cluster://":                         "names no host",
		"unix://":                                  "names no socket",
		"unix://redis.sock":                        "names no socket",
		"unix:///":                                 "names no socket",
		"unix:///run/":                             "names no socket",
		"unix:///run/a%00b":                        "NUL",
		"unix:///run/%zz":                          "percent-encoded",
		"unix:///run/redis.sock/0?db=x":            `database "x"`,
		"unix://:hunter2@redis":                    "names no socket",
		"unix:///" + strings.Repeat("s", 107):      "at most 107",
		"redis+unix:///run/r.sock?protocol=3":      `parameter "protocol"`,
		"unix:///tmp/a@b.sock":                     "percent-encoded",
		"rediss+unix:///run/r.sock":                "begins with redis://",
		"redis+sentinel://u:hunter2@a:1,b:x/main":  `port "x"`,
		"redis+cluster://u:hunter2@a:1,,b:2":       "without a host",
		"redis://u:hunter2@redis:6379/0?db=0&x=@h": "percent-encoded",
	} {
		got, err := redisurl.Parse(text)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v, not %q", text, got, err, want)
		}
		for _, secret := range []string{"hunter2", "ter2"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q: the error repeats a secret: %v", text, err)
			}
		}
	}
}

// Nothing of a password is ever in an error, wherever its bytes stand.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"hunter2", "a@b", "a/b", "a:b", "%", "#", "a,b:1/2?db=3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, password string) {
		if len(password) < 5 {
			return
		}
		u, err := redisurl.Parse("redis://ada:" + url.PathEscape(password) + "@redis:6379/1")
		if err == nil && u.Password != password {
			t.Errorf("%q was read as %q", password, u.Password)
		}
		// Whatever a password does to the rest of the URL, it is one of these mistakes.
		_, err = redisurl.Parse("redis://ada:" + password + "@redis:6379/x")
		if err == nil || !strings.HasPrefix(err.Error(), `has the database "x"`) && !strings.HasPrefix(err.Error(), "has a user or a password that cannot be read") {
			t.Errorf("%q: %v", password, err)
		}
	})
}
