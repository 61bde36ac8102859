package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// policyFaults asks the code that API servers judge pods by, and adds what it does not look at.
func policyFaults(r *release) []string {
	var faults []string
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return []string{err.Error()}
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, p := range r.pods {
		say := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%s: ", p.owner)+fmt.Sprintf(format, args...))
		}
		judged := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &p.meta, &p.spec))
		if !judged.Allowed {
			say("not restricted: %s", judged.ForbiddenDetail())
		}
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			say("gets a token of its service account")
		}
		if p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks {
			say("gets variables of Services")
		}
		for _, c := range p.spec.Containers {
			for _, fault := range containerFaults(c) {
				say("container %s %s", c.Name, fault)
			}
		}
	}
	return faults
}

func containerFaults(c corev1.Container) []string {
	var faults []string
	if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
		faults = append(faults, "can write into its root")
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		faults = append(faults, "lacks a request or the limit of memory")
	}
	// The image has no shell: whatever runs is the program itself.
	if c.Name == "parlance" && len(c.Command) > 0 {
		faults = append(faults, fmt.Sprintf("has the command %q in place of the image's own", c.Command))
	}
	return faults
}
