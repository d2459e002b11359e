package main

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runtools/runtools/pkg/wire"
)

// metrics are served on a listener of their own, which needs no key and is not for callers.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	phases   *prometheus.HistogramVec
	whole    prometheus.Histogram
	denied   *prometheus.CounterVec
	misfits  prometheus.Counter
}

// Labels are bounded: language is a name that the image has, outcome one of our statuses and codes, syscall a name that the kernel has, or
// one of two words.
func newMetrics(s *server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runtools_requests_total", Help: "Requests to execute, by language and by status of the run stage or code of the error.",
		}, []string{"language", "outcome"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "runtools_phase_seconds", Help: "Where the time of a carried out request went, by language.",
			Buckets: prometheus.ExponentialBuckets(0.000_05, 3, 15), // 50 us to 4 min
		}, []string{"language", "phase"}),
		whole: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "runtools_request_seconds", Help: "Time from the headers of a carried out request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.000_25, 2, 21), // 250 us to 4 min
		}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "runtools_denied_syscalls_total", Help: "Calls that the seccomp profile denied and does not expect, by language and name; * is what did not fit an answer.",
		}, []string{"language", "syscall"}),
		misfits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "runtools_version_refusals_total", Help: "Jobs that sandboxd did not understand: it is of another version than apid.",
		}),
	}
	m.registry.MustRegister(m.requests, m.phases, m.whole, m.denied, m.misfits, &sandboxdCollector{server: s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"runtools_jobs_running", "Requests being carried out.", func() float64 { n, _ := s.queue.counts(); return float64(n) }},
		{"runtools_queue_length", "Requests waiting for a slot or for their session.", func() float64 { _, n := s.queue.counts(); return float64(n) }},
		{"runtools_sessions", "Sessions held.", func() float64 { return float64(s.sessions.counts().sessions) }},
		{"runtools_sessions_evictable", "Of these, idle ones that no request has named or come back to.", func() float64 { return float64(s.sessions.counts().evictable) }},
		{"runtools_session_bytes", "Memory held by sessions.", func() float64 { return float64(s.sessions.counts().bytes) }},
		{"runtools_compile_cache_entries", "Compiled programs kept.", func() float64 { return float64(s.cache.counts().entries) }},
		{"runtools_compile_cache_bytes", "Memory that they take.", func() float64 { return float64(s.cache.counts().bytes) }},
		{"runtools_body_bytes", "Memory held by requests' bodies.", func() float64 { return float64(s.bodies.held()) }},
		{"runtools_unread_bytes", "Memory held by large answers that callers have not taken yet.", func() float64 { return float64(s.unread.bytes()) }},
		{"runtools_connections", "Open connections to the API.", func() float64 { return float64(s.visitors.count()) }},
		{"runtools_keys", "Valid keys.", func() float64 { return float64(s.keys.count()) }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value))
	}
	for f := formMounted; f < forms; f++ {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "runtools_session_workspaces", Help: "Sessions by how their files are held: mounted, given by requests and not changed, packed, or lent: shared with copies until it is used.",
			ConstLabels: prometheus.Labels{"form": f.String()},
		}, func() float64 { return float64(s.sessions.counts().forms[f]) }))
	}
	for _, c := range []struct {
		name, help string
		value      func() uint64
	}{
		{"runtools_session_evictions_total", "Sessions dropped early because the number or bytes allowed were used up.", func() uint64 { return s.sessions.counts().evicted }},
		{"runtools_compile_cache_hits_total", "Requests that found what they would have compiled.", func() uint64 { return s.cache.counts().hits }},
		{"runtools_compile_cache_misses_total", "Requests that did not, and compiled.", func() uint64 { return s.cache.counts().misses }},
		{"runtools_connections_closed_early_total", "Connections that were closed for others, before a whole request with a valid key had come.", s.visitors.closedEarly.Load},
		{"runtools_connections_refused_total", "Connections that were refused because every one was being served.", s.visitors.refused.Load},
		{"runtools_session_packs_total", "Workspaces packed.", s.packer.packs.Load},
		{"runtools_session_pack_failures_total", "Workspaces that could not be packed.", s.packer.failures.Load},
		{"runtools_session_unpacks_total", "Workspaces unpacked for a request.", s.packer.unpacks.Load},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, func() float64 { return float64(c.value()) }))
	}
	return m
}

// count records a finished call.
func (m *metrics) count(c *call) {
	if c.route != pathExecute && c.route != pathExecutions && c.route != "/api/v2/execute" || c.outcome == "" {
		return
	}
	m.requests.WithLabelValues(c.language, c.outcome).Inc()
	if c.failure != nil {
		return
	}
	m.whole.Observe(time.Since(c.started).Seconds())
	for _, p := range c.timing.phases() {
		if p.name != "compile" || p.took > 0 {
			m.phases.WithLabelValues(c.language, p.name).Observe(p.took.Seconds())
		}
	}
}

// deny counts what a job was denied.
func (m *metrics) deny(language string, list []wire.Violation) {
	for _, v := range list {
		m.denied.WithLabelValues(language, v.Syscall).Add(float64(v.Count))
	}
}

// sandboxdCollector asks sandboxd when somebody looks, and not otherwise.
type sandboxdCollector struct{ server *server }

var (
	upDesc     = prometheus.NewDesc("runtools_sandboxd_up", "1 if sandboxd answered.", nil, nil)
	jailsDesc  = prometheus.NewDesc("runtools_jails_live", "Jails that exist.", nil, nil)
	volumeDesc = prometheus.NewDesc("runtools_volumes", "Volumes that sandboxd holds.", nil, nil)
	hitsDesc   = prometheus.NewDesc("runtools_pool_hits_total", "Jobs that found a jail ready.", nil, nil)
	missesDesc = prometheus.NewDesc("runtools_pool_misses_total", "Jobs that had to wait for a jail to be built.", nil, nil)
	parkedDesc = prometheus.NewDesc("runtools_pool_parked_total", "Jobs that found a runtime loaded.", nil, nil)
	reusedDesc = prometheus.NewDesc("runtools_pool_reused_total", "Compile jobs that found a compiler which had served the same key.", nil, nil)
	builtDesc  = prometheus.NewDesc("runtools_jails_built_total", "Jails built.", nil, nil)
	failedDesc = prometheus.NewDesc("runtools_jails_failed_total", "Jails that could not be built.", nil, nil)
	readyDesc  = prometheus.NewDesc("runtools_pool_ready", "Jails ready in a pool.", []string{"template"}, nil)
	selfDesc   = prometheus.NewDesc("runtools_selftest_passed", "1 if sandboxd's last attacks on its own jails were held; 0 before the first, after one that was not, and when none has told anything for three times selftest_every. Absent if it makes none.", nil, nil)
	ageDesc    = prometheus.NewDesc("runtools_selftest_age_seconds", "Time since the last of these attacks that told anything. Absent before the first.", nil, nil)
	unheldDesc = prometheus.NewDesc("runtools_selftest_failed", "1 for each attack of that test that was not held.", []string{"check"}, nil)
	sizeDesc   = prometheus.NewDesc("runtools_pool_size", "Jails that a pool is to hold.", []string{"template"}, nil)
)

func (k *sandboxdCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, jailsDesc, volumeDesc, hitsDesc, missesDesc, parkedDesc, reusedDesc, builtDesc, failedDesc, readyDesc, sizeDesc, selfDesc, ageDesc, unheldDesc} {
		ch <- d
	}
	describeProfiles(ch)
}

// statusWait bounds how long a scrape waits for sandboxd.
const statusWait = 2 * time.Second

func (k *sandboxdCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(k.server.jobs, statusWait)
	defer cancel()
	status, err := k.server.sandbox.Status(ctx, &wire.StatusRequest{})
	if err != nil {
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, 0)
		return
	}
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(upDesc, 1)
	gauge(jailsDesc, status.LiveJails)
	gauge(volumeDesc, status.Volumes)
	counter(hitsDesc, status.PoolHits)
	counter(missesDesc, status.PoolMisses)
	counter(parkedDesc, status.Parked)
	counter(reusedDesc, status.Reused)
	counter(builtDesc, status.Built)
	counter(failedDesc, status.Failed)
	if t := status.Selftest; t != nil {
		passed := 0
		if t.Passed {
			passed = 1
		}
		gauge(selfDesc, passed)
		if t.Runs > 0 {
			ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, float64(t.AgoMS)/1000)
		}
		for _, check := range failedChecks(t) {
			gauge(unheldDesc, 1, check)
		}
	}
	for _, t := range status.Templates {
		gauge(readyDesc, t.Ready, t.Name)
		gauge(sizeDesc, t.Size, t.Name)
	}
	if status.Seccomp != nil { // nil: an older sandboxd, during an upgrade
		collectProfiles(ch, status.Seccomp)
	}
}

// serve works until the listener is closed.
func (m *metrics) serve(ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	return server.Serve(ln)
}
