package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"
)

// release is everything that one rendering holds.
type release struct {
	objects []object
	pods    []pod
}

// object is of a type of Kubernetes, or unstructured if it is a custom resource.
type object struct {
	kind  string
	meta  metav1.ObjectMeta
	typed runtime.Object
	// tree is the object as it was rendered.
	tree map[string]any
}

func (o object) String() string { return o.kind + " " + o.meta.Name }

// pod is a pod, or the template of those that an object makes.
type pod struct {
	owner object
	meta  metav1.ObjectMeta
	spec  corev1.PodSpec
	// selector is what its owner knows it by; nil if nothing does.
	selector *metav1.LabelSelector
}

func (p pod) component() string { return p.meta.Labels["app.kubernetes.io/component"] }

func readRelease(from io.Reader) (*release, error) {
	found := &release{}
	documents := yaml.NewYAMLReader(bufio.NewReader(from))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		read, err := readObject(text)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		if read != nil {
			found.objects = append(found.objects, *read)
		}
	}
	if len(found.objects) == 0 {
		return nil, errors.New("nothing was rendered")
	}
	for _, o := range found.objects {
		if p := podOf(o); p != nil {
			found.pods = append(found.pods, *p)
		}
	}
	return found, nil
}

func readObject(text []byte) (*object, error) {
	var tree map[string]any
	if err := sigsyaml.UnmarshalStrict(text, &tree); err != nil {
		return nil, err
	}
	if len(tree) == 0 {
		return nil, nil
	}
	bare := unstructured.Unstructured{Object: tree}
	read := &object{kind: bare.GetKind(), tree: tree}
	if scheme.Scheme.Recognizes(bare.GroupVersionKind()) {
		typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			return nil, err
		}
		read.typed = typed
	}
	read.meta.Name = bare.GetName()
	read.meta.Namespace = bare.GetNamespace()
	read.meta.Labels = bare.GetLabels()
	read.meta.Annotations = bare.GetAnnotations()
	return read, nil
}

func podOf(o object) *pod {
	switch typed := o.typed.(type) {
	case *appsv1.Deployment:
		return &pod{o, typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, typed.Spec.Selector}
	case *appsv1.StatefulSet:
		return &pod{o, typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, typed.Spec.Selector}
	case *batchv1.Job:
		return &pod{o, typed.Spec.Template.ObjectMeta, typed.Spec.Template.Spec, nil}
	case *corev1.Pod:
		return &pod{o, typed.ObjectMeta, typed.Spec, nil}
	}
	return nil
}

// find is the object of a kind with a name, or nil.
func (r *release) find(kind, name string) *object {
	for i, o := range r.objects {
		if o.kind == kind && o.meta.Name == name {
			return &r.objects[i]
		}
	}
	return nil
}

// hooks are the events that an object is a hook of; none for an object of the release itself.
func (o object) hooks() []string {
	events := o.meta.Annotations["helm.sh/hook"]
	if events == "" {
		return nil
	}
	return strings.Split(events, ",")
}
