package rpc

import (
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	adminv1 "github.com/trunkline/trunkline/gen/go/trunkline/admin/v1"
	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

// Rule says who may call a method. A method without a rule is denied to everybody.
type Rule struct {
	// Scope is what a back end needs; empty only for an open method.
	Scope string
	// Tokens lets clients call with a token; the handler checks the token's grants.
	Tokens bool
	// Tickets lets clients call with a ticket for a stream, too.
	Tickets bool
	// Open lets everybody call, without credentials.
	Open bool
	// Anyone also lets callers without credentials in, as nobody: whether they may is for the service to say.
	Anyone bool
}

// rules is every method that may be called.
var rules = map[string]Rule{
	authv1.AuthService_IssueToken_FullMethodName:          {Scope: ScopeTokensIssue},
	authv1.AuthService_ValidateToken_FullMethodName:       {Scope: ScopeTokensValidate},
	authv1.AuthService_BatchValidateTokens_FullMethodName: {Scope: ScopeTokensValidate},
	authv1.AuthService_RefreshToken_FullMethodName:        {Open: true}, // the refresh token is the credential
	authv1.AuthService_RevokeToken_FullMethodName:         {Scope: ScopeTokensRevoke},
	authv1.AuthService_RefreshKeySets_FullMethodName:      {Scope: ScopeTokensRevoke},
	authv1.AuthService_GetKeySet_FullMethodName:           {Open: true}, // public keys

	publishv1.PublishService_Publish_FullMethodName:       {Scope: ScopePublish, Tokens: true},
	publishv1.PublishService_BatchPublish_FullMethodName:  {Scope: ScopePublish, Tokens: true},
	publishv1.PublishService_PublishStream_FullMethodName: {Scope: ScopePublish, Tokens: true},
	publishv1.PublishService_Consume_FullMethodName:       {Scope: ScopeSubscribe, Tokens: true, Tickets: true},
	publishv1.PublishService_Subscribe_FullMethodName:     {Scope: ScopeSubscribe, Tokens: true},

	publishv1.PublishService_CreateStreamTicket_FullMethodName: {Scope: ScopeSubscribe, Tokens: true}, // back ends are told what to do

	publishv1.PublishService_GetReceipt_FullMethodName:    {Scope: ScopePublish, Tokens: true},
	publishv1.PublishService_WatchReceipts_FullMethodName: {Scope: ScopePublish, Tokens: true},

	publishv1.StateService_GetState_FullMethodName:    {Scope: ScopeHistory, Tokens: true},
	publishv1.StateService_UpdateState_FullMethodName: {Scope: ScopePublish, Tokens: true},
	publishv1.StateService_DeleteState_FullMethodName: {Scope: ScopePublish, Tokens: true},

	publishv1.InboxService_ListInbox_FullMethodName:     {Scope: ScopeInbox, Tokens: true},
	publishv1.InboxService_AckMessages_FullMethodName:   {Scope: ScopeInbox, Tokens: true},
	publishv1.InboxService_GetInboxStats_FullMethodName: {Scope: ScopeInbox, Tokens: true},

	publishv1.ChannelService_CreateChannel_FullMethodName: {Scope: ScopeChannels},
	publishv1.ChannelService_GetChannel_FullMethodName:    {Scope: ScopeChannels},
	publishv1.ChannelService_ListChannels_FullMethodName:  {Scope: ScopeChannels},
	publishv1.ChannelService_DeleteChannel_FullMethodName: {Scope: ScopeChannels},
	publishv1.ChannelService_ListMessages_FullMethodName:  {Scope: ScopeHistory, Tokens: true},
	publishv1.ChannelService_ListMembers_FullMethodName:   {Scope: ScopePresence, Tokens: true},

	hooksv1.EventService_WatchEvents_FullMethodName: {Scope: ScopeEvents},

	adminv1.AdminService_ListNodes_FullMethodName:       {Scope: ScopeAdmin},
	adminv1.AdminService_ExplainDelivery_FullMethodName: {Scope: ScopeAdmin},

	// Callers without credentials are refused by the services unless the older protocols were opened.
	legacyv1.RelayService_CreateRelayToken_FullMethodName: {Scope: ScopeTokensIssue, Anyone: true},
	legacyv1.RelayService_CheckRelayToken_FullMethodName:  {Scope: ScopeTokensValidate, Anyone: true},
	legacyv1.RelayService_PublishArticle_FullMethodName:   {Scope: ScopePublish, Anyone: true},

	legacyv1.PushServerService_CreatePushChannel_FullMethodName: {Scope: ScopeChannels, Anyone: true},
	legacyv1.PushServerService_CheckPushChannel_FullMethodName:  {Scope: ScopeChannels, Anyone: true}, // these three also take the channel's token
	legacyv1.PushServerService_DeletePushChannel_FullMethodName: {Scope: ScopeChannels, Anyone: true},
	legacyv1.PushServerService_PushMessage_FullMethodName:       {Scope: ScopePublish, Anyone: true},
	legacyv1.PushServerService_GetPushStatistics_FullMethodName: {Scope: ScopeChannels, Anyone: true},

	// Registering a session says who somebody is, so it is never open.
	legacyv1.FacilityService_RegisterSession_FullMethodName:   {Scope: ScopeTokensIssue},
	legacyv1.FacilityService_UnregisterSession_FullMethodName: {Scope: ScopeTokensRevoke},

	legacyv1.CommandService_RunCommand_FullMethodName: {Scope: ScopePublish, Tokens: true},

	legacyv1.RoomsService_NextRoomID_FullMethodName: {Scope: ScopePublish, Tokens: true, Anyone: true},

	grpc_health_v1.Health_Check_FullMethodName: {Open: true},
	grpc_health_v1.Health_Watch_FullMethodName: {Open: true},
	grpc_health_v1.Health_List_FullMethodName:  {Open: true},

	// Registered only where reflection is configured.
	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      {Open: true},
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: {Open: true},
}

// RuleFor returns the rule of a full method name; false when there is none and everybody is denied.
func RuleFor(method string) (Rule, bool) {
	r, ok := rules[method]
	return r, ok
}
