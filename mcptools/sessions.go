package mcptools

import (
	"context"
	"fmt"
	"strings"

	"github.com/runtools/runtools/pkg/client"
)

type sessionInput struct {
	SessionID string `json:"session_id" jsonschema:"the session"`
}

type forkInput struct {
	sessionInput
	Count int `json:"count,omitempty" jsonschema:"how many copies, 1 to 100; 1 unless given"`
}

func (t *toolbox) forkSession(ctx context.Context, in forkInput) ([]string, error) {
	count := in.Count
	if count == 0 {
		count = 1
	}
	ids, err := t.client.Fork(ctx, in.SessionID, count)
	return []string{"new sessions:\n" + strings.Join(ids, "\n")}, err
}

func (t *toolbox) endSession(ctx context.Context, in sessionInput) ([]string, error) {
	existed, err := t.client.DeleteSession(ctx, in.SessionID)
	if err != nil {
		return nil, err
	}
	if !existed {
		return nil, &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("there is no session %q", in.SessionID)}
	}
	// What was cut of its outputs goes too; it is gone soon in any case.
	_, _ = t.client.DeleteSession(ctx, in.SessionID+outputSuffix)
	return []string{fmt.Sprintf("session %s has ended", in.SessionID)}, nil
}
