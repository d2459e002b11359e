package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/runtools/runtools/pkg/client"
)

// A program, its input and its answer. The empty strings stand for RUNTOOLS_URL and RUNTOOLS_API_KEY of the environment.
func ExampleClient_Execute() {
	c, err := client.New("", "")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // its end kills the program
	defer cancel()
	result, err := c.Execute(ctx, &client.Request{Language: "python", Code: "print(sum(map(int, input().split())))", Stdin: "1 2 3"})
	var refused *client.Error
	switch {
	case errors.As(err, &refused):
		log.Fatalf("%s: %s", refused.Code, refused.Message)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Print(result.Run.Stdout)
}

// Files, variables and packages stay in a session.
func ExampleSession() {
	c, err := client.New("", "")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	session := c.Session("")
	if _, err := session.Execute(ctx, &client.Request{Language: "bash", Code: "echo 42 > answer"}); err != nil {
		log.Fatal(err)
	}
	answer, err := session.ReadFile(ctx, "answer")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", answer)
	if _, err := session.Delete(ctx); err != nil {
		log.Fatal(err)
	}
}
