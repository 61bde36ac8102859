package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

// writeSchemas writes a schema for each version of each custom resource, named as kubeconform asks.
func writeSchemas(dir string, definitions []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, path := range definitions {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var crd apiextensions.CustomResourceDefinition
		if err := sigsyaml.Unmarshal(text, &crd); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, version := range crd.Spec.Versions {
			var schema map[string]any
			if err := decode(version.Schema.OpenAPIV3Schema, &schema); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			closeObjects(schema)
			text, err := json.Marshal(schema)
			if err != nil {
				return err
			}
			group, _, _ := strings.Cut(crd.Spec.Group, ".")
			name := fmt.Sprintf("%s-%s-%s.json", strings.ToLower(crd.Spec.Names.Kind), group, version.Name)
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeObjects lets no object have properties that its schema does not name: an API server drops them in
// silence.
func closeObjects(schema map[string]any) {
	if properties, has := schema["properties"].(map[string]any); has {
		_, open := schema["additionalProperties"]
		if keep, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool); !open && !keep {
			schema["additionalProperties"] = false
		}
		for _, property := range properties {
			closeChild(property)
		}
	}
	if whole, _ := schema["x-kubernetes-int-or-string"].(bool); whole {
		delete(schema, "type")
	}
	closeChild(schema["items"])
	closeChild(schema["additionalProperties"])
	// These only narrow what the properties above allow.
	for _, key := range []string{"allOf", "anyOf", "oneOf", "not"} {
		delete(schema, key)
	}
}

func closeChild(child any) {
	if schema, is := child.(map[string]any); is {
		closeObjects(schema)
	}
}

// decode goes by way of JSON, as the types of Kubernetes want it.
func decode(from, to any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}
