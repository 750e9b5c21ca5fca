package app

import (
	"net/http"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trunkline/trunkline/gateway"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
)

// devTokenTTL is how long the welcome page's token lives.
const devTokenTTL = 10 * time.Minute

// devToken gives a page of this server, on this machine, a token for the user dev. Development only.
func devToken(tokens authv1.AuthServiceClient) http.Handler {
	request := &authv1.IssueTokenRequest{
		User: "dev", Ttl: durationpb.New(devTokenTTL),
		Grants: []*authv1.Grant{{Address: "channels/*", Actions: []authv1.Action{
			authv1.Action_ACTION_SUBSCRIBE, authv1.Action_ACTION_PUBLISH, authv1.Action_ACTION_HISTORY, authv1.Action_ACTION_PRESENCE,
		}}},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
			return
		}
		if !gateway.LocalPage(r) {
			http.Error(w, "only pages of this server on this machine get a development token", http.StatusForbidden)
			return
		}
		resp, err := tokens.IssueToken(r.Context(), request)
		if err != nil {
			http.Error(w, "the auth service does not answer", http.StatusServiceUnavailable)
			return
		}
		body, err := protojson.Marshal(resp)
		if err != nil {
			http.Error(w, "cannot write the token", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}
