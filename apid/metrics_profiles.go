package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/runtools/runtools/pkg/wire"
)

// What sandboxd tells of its profiles. use is "in force", "shadow" or "canary", profiles the digest of those; so what changes with a reload
// begins a series of its own. Labels are bounded: a reload is an operator's act, language and stage are of the image, syscall is the kernel's.
var (
	profilesDesc      = prometheus.NewDesc("runtools_profiles_info", "1; the digests of the seccomp profiles in force and on trial.", []string{"in_force", "candidate", "mode"}, nil)
	reloadsDesc       = prometheus.NewDesc("runtools_profile_reloads_total", "Reloads of the profiles that went well.", nil, nil)
	reloadFailsDesc   = prometheus.NewDesc("runtools_profile_reload_failures_total", "Reloads that were refused: the profiles before them hold.", nil, nil)
	profileJobsDesc   = profileDesc("runtools_profile_jobs_total", "Jobs that ended, by the use of their profiles.")
	profileFailedDesc = profileDesc("runtools_profile_jobs_failed_total", "Of these, those that a signal or another exit code than 0 ended.")
	profileKilledDesc = profileDesc("runtools_profile_jobs_killed_total", "Of these, those that SIGSYS ended.")
	profileDeniedDesc = profileDesc("runtools_profile_denials_total", "Calls that were denied to them.")
	profileTriedDesc  = profileDesc("runtools_profile_tried_syscalls_total",
		"Calls that the profiles on trial deny, or in shadow would deny, and those in force allow; * is what did not fit the list.", "syscall")
)

func profileDesc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"profiles", "use", "language", "stage"}, more...), nil)
}

func describeProfiles(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{profilesDesc, reloadsDesc, reloadFailsDesc, profileJobsDesc, profileFailedDesc, profileKilledDesc,
		profileDeniedDesc, profileTriedDesc} {
		ch <- d
	}
}

func collectProfiles(ch chan<- prometheus.Metric, s *wire.Seccomp) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	ch <- prometheus.MustNewConstMetric(profilesDesc, prometheus.GaugeValue, 1, s.InForce, s.Candidate, s.Mode)
	counter(reloadsDesc, s.Reloads)
	counter(reloadFailsDesc, s.Failures)
	for _, t := range s.Tallies {
		profiles := s.Candidate
		if t.Use == wire.InForce {
			profiles = s.InForce
		}
		language, stage, _ := strings.Cut(t.Template, "/")
		labels := []string{profiles, t.Use, language, stage}
		counter(profileJobsDesc, t.Jobs, labels...)
		counter(profileFailedDesc, t.Failed, labels...)
		counter(profileKilledDesc, t.Killed, labels...)
		counter(profileDeniedDesc, t.Denied, labels...)
		for _, c := range t.Tried {
			counter(profileTriedDesc, c.Count, append(labels, c.Syscall)...)
		}
	}
}
