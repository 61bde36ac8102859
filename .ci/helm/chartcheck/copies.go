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
// Kubernetes uses: the same groups of rules, and each dashboard to the letter.
func copyFaults(r *release, rules, dashboards []string) ([]string, error) {
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
	for _, o := range r.objects {
		if o.kind == "PrometheusRule" {
			groups, _, _ := unstructured.NestedSlice(o.tree, "spec", "groups")
			rendered = append(rendered, groups...)
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

func (r *release) hasData(key, text string) bool {
	for _, o := range r.objects {
		if config, is := o.typed.(*corev1.ConfigMap); is && config.Data[key] == text {
			return true
		}
	}
	return false
}
