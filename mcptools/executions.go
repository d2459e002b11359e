package mcptools

import (
	"context"
	"fmt"
	"time"

	"github.com/runtools/runtools/pkg/client"
)

// waitUsual is how long get_execution waits unless the model says otherwise, seconds: most clients give a call up after a minute.
const waitUsual = 30

func (t *toolbox) startExecution(ctx context.Context, in executeInput) ([]string, error) {
	e, err := t.client.Start(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("execution %s has begun; get_execution waits for its result, cancel_execution kills it", e.ID)}, nil
}

type executionInput struct {
	ExecutionID string `json:"execution_id" jsonschema:"as start_execution named it"`
}

type getExecutionInput struct {
	executionInput
	WaitSeconds int64 `json:"wait_seconds,omitempty" jsonschema:"how long to wait for its end, 1 to 60; 30 unless given"`
}

func (t *toolbox) getExecution(ctx context.Context, in getExecutionInput) ([]string, error) {
	wait := in.WaitSeconds
	if wait == 0 {
		wait = waitUsual
	}
	if most := int64(client.MaxWait / time.Second); wait < 1 || wait > most {
		return nil, fmt.Errorf("wait_seconds %d: want 1 to %d", wait, most)
	}
	e, err := t.client.Execution(ctx, in.ExecutionID, time.Duration(wait)*time.Second)
	switch {
	case err != nil:
		return nil, err
	case e.Error != nil:
		return nil, &client.Error{Code: e.Error.Code, Message: e.Error.Message, Field: e.Error.Field, RequestID: e.Error.RequestID}
	case e.Result == nil:
		return []string{fmt.Sprintf("execution %s has not ended after %d s more: call get_execution again", e.ID, wait)}, nil
	}
	return t.report(ctx, e.Result), nil
}

func (t *toolbox) cancelExecution(ctx context.Context, in executionInput) ([]string, error) {
	err := t.client.Forget(ctx, in.ExecutionID)
	return []string{fmt.Sprintf("execution %s has ended, and is forgotten", in.ExecutionID)}, err
}
