package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/testkit"
)

// A process whose store in memory is full says so, refuses what it would have to keep, and still revokes.
func TestMemory_full(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "memory.limit", "1MiB"))
	payload := []byte(`"` + strings.Repeat("x", 50<<10) + `"`)
	var refused string
	for i := 0; refused == "" && i < 100; i++ {
		_, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: fmt.Sprint("channels/m:", i), Data: payload})
		refused = reason(err)
	}
	if refused != "STORAGE_FULL" {
		t.Errorf("it is refused with %q", refused)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Internal+"/readyz?verbose", nil)
	testkit.Check(t, err)
	resp, err := http.DefaultClient.Do(req)
	testkit.Check(t, err)
	body, err := io.ReadAll(resp.Body)
	testkit.Check(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "STORAGE_FULL") {
		t.Errorf("readiness is %d %s", resp.StatusCode, body)
	}
	_, err = h.Auth.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Target: &authv1.RevokeTokenRequest_User{User: "eve"}})
	testkit.Check(t, err)
}
