package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"
)

// copyFaults holds what is rendered of rules and dashboards against the files that everybody without
// Kubernetes uses: the same groups of rules but for what stands before the addresses of the runbook, and
// each dashboard to the letter.
func copyFaults(r *release, runbook string, rules, dashboards []string) ([]string, error) {
	var faults []string
	var wanted, rendered []any
	for _, path := range rules {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var file struct{ Groups []any }
		if err := sigsyaml.Unmarshal(text, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		wanted = append(wanted, file.Groups...)
	}
	if err := addressRunbook(wanted, runbook); err != nil {
		return nil, err
	}
	for _, o := range r.objects {
		if o.kind == "PrometheusRule" {
			groups, _, _ := unstructured.NestedSlice(o.tree, "spec", "groups")
			rendered = append(rendered, groups...)
			faults = append(faults, groupFaults(groups)...)
		}
	}
	if !reflect.DeepEqual(wanted, rendered) {
		faults = append(faults, fmt.Sprintf("%d groups of rules in %d files are not the %d that are rendered", len(wanted), len(rules), len(rendered)))
	}
	for _, path := range dashboards {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !r.hasData(filepath.Base(path), string(text)) {
			faults = append(faults, fmt.Sprintf("%s is not rendered as it is", path))
		}
	}
	return faults, nil
}

// groupFaults finds names that several groups have. Prometheus tells groups apart by their files as well, but
// Kubernetes refuses the object that all files come into.
func groupFaults(groups []any) []string {
	var faults []string
	seen := map[string]bool{}
	for _, group := range groups {
		name, _, _ := unstructured.NestedString(group.(map[string]any), "name")
		if seen[name] {
			faults = append(faults, fmt.Sprintf("two groups of rules are called %s", name))
		}
		seen[name] = true
	}
	return faults
}

// addressRunbook puts what is given before the address of each alert's section.
func addressRunbook(groups []any, before string) error {
	for _, group := range groups {
		rules, _, _ := unstructured.NestedSlice(group.(map[string]any), "rules")
		for _, rule := range rules {
			annotations, is, err := unstructured.NestedMap(rule.(map[string]any), "annotations")
			if err != nil {
				return err
			}
			if is {
				annotations["runbook_url"] = before + fmt.Sprint(annotations["runbook_url"])
				rule.(map[string]any)["annotations"] = annotations
			}
		}
		group.(map[string]any)["rules"] = rules
	}
	return nil
}

func (r *release) hasData(key, text string) bool {
	for _, o := range r.objects {
		if config, is := o.typed.(*corev1.ConfigMap); is && config.Data[key] == text {
			return true
		}
	}
	return false
}
