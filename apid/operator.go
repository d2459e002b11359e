package main

import (
	"bytes"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/valyala/fasthttp"
)

// operatorMetrics is GET /v1/metrics: what the listener of the metrics says, for whoever cannot reach that and holds an operator's key. The figures are
// sums over all keys. One key's use can be seen in them, as soon as the others are quiet, so a caller's key does not open them.
func (s *server) operatorMetrics(c *call) *apiError {
	if !c.key.Operator {
		return refuse(errForbidden, "this key is a caller's: the metrics want one made with apid keys create -operator")
	}
	families, err := s.metrics.registry.Gather()
	if err != nil {
		return internal(fmt.Errorf("gather the metrics: %w", err))
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return internal(fmt.Errorf("write the metrics: %w", err))
		}
	}
	body := text.Bytes()
	h := &c.ctx.Response.Header
	h.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	if c.ctx.Request.Header.HasAcceptEncoding("gzip") { // to a tenth: histograms repeat their names
		h.Set(fasthttp.HeaderContentEncoding, "gzip")
		body = fasthttp.AppendGzipBytes(nil, body)
	}
	c.answerBytes = len(body)
	c.ctx.Response.SetBodyRaw(body)
	return nil
}
