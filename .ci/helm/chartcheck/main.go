// Chartcheck judges what the chart renders, beyond what schemas can say. It is called by
// `.ci/helm/test`, once for each file of values:
//
//	chartcheck objects < RENDERED     the restricted profile, and how objects belong together
//	chartcheck settings BIN < RENDERED    whether parlance itself accepts the settings of each pod
//	chartcheck copies URL FILE… < RENDERED    whether rules (.yaml) and dashboards (.json) are rendered as they
//	                                  are, with the URL before the addresses of the runbook
//	chartcheck schemas DIR CRD…       writes JSON schemas of custom resources for kubeconform
//
// It exits with 1 and a line for each fault. Shapes of objects are left to kubeconform, single templates
// to helm-unittest.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	faults, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "chartcheck:", err)
		os.Exit(70)
	}
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

func run(args []string) ([]string, error) {
	switch {
	case len(args) == 1 && args[0] == "objects":
		release, err := readRelease(os.Stdin)
		if err != nil {
			return nil, err
		}
		return append(policyFaults(release), relationFaults(release)...), nil
	case len(args) == 2 && args[0] == "settings":
		release, err := readRelease(os.Stdin)
		if err != nil {
			return nil, err
		}
		return settingFaults(release, args[1])
	case len(args) > 1 && args[0] == "copies":
		release, err := readRelease(os.Stdin)
		if err != nil {
			return nil, err
		}
		rules, dashboards := split(args[2:])
		return copyFaults(release, args[1], rules, dashboards)
	case len(args) > 2 && args[0] == "schemas":
		return nil, writeSchemas(args[1], args[2:])
	}
	return nil, fmt.Errorf("usage: chartcheck objects | settings BIN | copies URL FILE… | schemas DIR CRD…")
}

// split tells rules from dashboards.
func split(files []string) (rules, dashboards []string) {
	for _, file := range files {
		if filepath.Ext(file) == ".json" {
			dashboards = append(dashboards, file)
		} else {
			rules = append(rules, file)
		}
	}
	return rules, dashboards
}
