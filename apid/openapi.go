package main

import (
	_ "embed"
	"fmt"
	"regexp"
)

// openAPIDocument describes everything that is served, as OpenAPI 3.1. openapi_test.go, here and in e2e, holds real answers against it.
//
//go:embed openapi.json
var openAPIDocument []byte

// describeAPI is the document with the bounds that the operator has chosen, where it has those of a server without a file of settings. They are
// put into its text, whose order is for people.
func describeAPI(cfg *config) ([]byte, error) {
	document := openAPIDocument
	limits := &cfg.Limits
	for _, f := range []struct {
		field string
		bound bound // no default: that is none, or each language's own
	}{
		{"run_timeout", limits.RunTimeout}, {"compile_timeout", limits.CompileTimeout},
		{"run_cpu_time", bound{0, limits.RunCPUTime.Max}}, {"compile_cpu_time", bound{0, limits.CompileCPUTime.Max}},
		{"run_memory_limit", bound{0, limits.RunMemoryLimit.Max}}, {"compile_memory_limit", bound{0, limits.CompileMemoryLimit.Max}},
		{"output_limit", limits.OutputLimit}, {"repeat", bound{0, int64(cfg.Repeat.MaxRuns)}},
	} {
		for word, value := range map[string]int64{"maximum": f.bound.Max, "default": f.bound.Default} {
			if value == 0 {
				continue
			}
			at := regexp.MustCompile(`(?s)("` + f.field + `": \{[^{}]*"` + word + `": )\d+`).FindSubmatchIndex(document)
			if at == nil {
				return nil, fmt.Errorf("openapi.json has no %s of %s", word, f.field)
			}
			document = fmt.Appendf(document[:at[3]:at[3]], "%d%s", value, document[at[1]:])
		}
	}
	return document, nil
}

func (s *server) openAPI(c *call) *apiError {
	c.reply(s.document)
	return nil
}
