package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// relationFaults looks at every reference from one object to another.
func relationFaults(r *release) []string {
	faults := nameFaults(r)
	for _, p := range r.pods {
		faults = append(faults, podFaults(r, p)...)
	}
	for _, o := range r.objects {
		for _, fault := range objectFaults(r, o) {
			faults = append(faults, fmt.Sprintf("%s: %s", o, fault))
		}
	}
	return faults
}

func nameFaults(r *release) []string {
	var faults []string
	seen := map[string]bool{}
	for _, o := range r.objects {
		if seen[o.String()] {
			faults = append(faults, fmt.Sprintf("%s is there twice", o))
		}
		seen[o.String()] = true
		// The one of trials is the only secret that values may hold.
		if o.kind == "Secret" && !strings.HasSuffix(o.meta.Name, "-dev") {
			faults = append(faults, fmt.Sprintf("%s: secrets are named, not made", o))
		}
	}
	return faults
}

func podFaults(r *release, p pod) []string {
	var faults []string
	say := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: ", p.owner)+fmt.Sprintf(format, args...))
	}
	if p.selector != nil {
		for _, other := range r.pods {
			mine := other.owner.String() == p.owner.String()
			if matches(p.selector, other.meta.Labels) != mine {
				say("its selector and the labels of %s do not go together", other.owner)
			}
		}
	}
	if account := p.spec.ServiceAccountName; account != "" && account != "default" {
		if fault := referenceFault(r, p.owner, "ServiceAccount", account); fault != "" {
			say("%s", fault)
		}
	}
	volumes := map[string]bool{}
	for _, v := range p.spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			if fault := referenceFault(r, p.owner, "ConfigMap", v.ConfigMap.Name); fault != "" {
				say("%s", fault)
			}
		}
	}
	for _, c := range p.spec.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				say("mounts %s, which is no volume", m.Name)
			}
		}
		for _, variable := range c.Env {
			if path := variable.Value; strings.HasPrefix(path, "/etc/parlance/") && !mounted(p, c, path) {
				say("%s is %s, which is not mounted", variable.Name, path)
			}
		}
	}
	if p.component() == "gateway" {
		faults = append(faults, drainFaults(r, p)...)
	}
	return faults
}

// referenceFault: what a hook needs has to be there before it, so it is a hook of the same events that
// comes earlier.
func referenceFault(r *release, from object, kind, name string) string {
	to := r.find(kind, name)
	if to == nil {
		return fmt.Sprintf("there is no %s %s", kind, name)
	}
	if slices.Contains(from.hooks(), "pre-install") {
		before, errBefore := strconv.Atoi(to.meta.Annotations["helm.sh/hook-weight"])
		own, errOwn := strconv.Atoi(from.meta.Annotations["helm.sh/hook-weight"])
		if !slices.Equal(to.hooks(), from.hooks()) || errBefore != nil || errOwn != nil || before >= own {
			return fmt.Sprintf("%s is not there yet when this hook runs", *to)
		}
	}
	return ""
}

// mounted is whether a path of the container leads to something that a volume brings.
func mounted(p pod, c corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		file, below := strings.CutPrefix(path, m.MountPath+"/")
		if !below {
			continue
		}
		for _, v := range p.spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			if v.Projected == nil {
				return true
			}
			for _, source := range v.Projected.Sources {
				for _, item := range source.Secret.Items {
					if item.Path == file {
						return true
					}
				}
			}
		}
	}
	return false
}

// drainFaults: from the SIGTERM on, which comes after the sleep of preStop, all of the drain has to fit
// in, and the process has to be told the same time.
func drainFaults(r *release, p pod) []string {
	container := p.spec.Containers[0]
	settings, err := settingsOf(r, p)
	if err != nil {
		return []string{err.Error()}
	}
	drain, _ := settings["drain"].(map[string]any)
	window, errWindow := time.ParseDuration(fmt.Sprint(drain["window"]))
	grace, errGrace := time.ParseDuration(fmt.Sprint(drain["grace"]))
	if errWindow != nil || errGrace != nil {
		return []string{fmt.Sprintf("%s: its configuration has no drain: %v", p.owner, drain)}
	}
	var sleep time.Duration
	if l := container.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		sleep = time.Duration(l.PreStop.Sleep.Seconds) * time.Second
	}
	left := time.Duration(*p.spec.TerminationGracePeriodSeconds)*time.Second - sleep
	var faults []string
	if left <= window+grace {
		faults = append(faults, fmt.Sprintf("%s: %s between SIGTERM and SIGKILL are too few for a window of %s and a grace of %s", p.owner, left, window, grace))
	}
	if told, err := time.ParseDuration(variable(container, "PARLANCE_DRAIN__TERMINATION_GRACE")); err != nil || told != left {
		faults = append(faults, fmt.Sprintf("%s: is told of %s between SIGTERM and SIGKILL, but there are %s", p.owner, told, left))
	}
	return faults
}

func settingsOf(r *release, p pod) (map[string]any, error) {
	text, err := settingsText(r, p)
	if err != nil {
		return nil, err
	}
	var settings map[string]any
	if _, err := toml.Decode(text, &settings); err != nil {
		return nil, fmt.Errorf("%s: its configuration is no TOML: %w\n%s", p.owner, err, text)
	}
	return settings, nil
}

func settingsText(r *release, p pod) (string, error) {
	for _, v := range p.spec.Volumes {
		if v.Name != "config" || v.ConfigMap == nil {
			continue
		}
		if o := r.find("ConfigMap", v.ConfigMap.Name); o != nil {
			return o.typed.(*corev1.ConfigMap).Data["parlance.toml"], nil
		}
	}
	return "", fmt.Errorf("%s has no configuration", p.owner)
}

func variable(c corev1.Container, name string) string {
	for _, v := range c.Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func objectFaults(r *release, o object) []string {
	switch typed := o.typed.(type) {
	case *corev1.Service:
		return serviceFaults(r, typed)
	case *policyv1.PodDisruptionBudget:
		return selectionFaults(r, typed.Spec.Selector)
	case *networkingv1.NetworkPolicy:
		return networkFaults(r, typed)
	case *autoscalingv2.HorizontalPodAutoscaler:
		return targetFaults(r, typed.Spec.ScaleTargetRef.Kind, typed.Spec.ScaleTargetRef.Name, *typed.Spec.MinReplicas)
	case *networkingv1.Ingress:
		return ingressFaults(r, typed)
	}
	switch o.kind {
	case "ScaledObject":
		kind, _, _ := unstructured.NestedString(o.tree, "spec", "scaleTargetRef", "kind")
		name, _, _ := unstructured.NestedString(o.tree, "spec", "scaleTargetRef", "name")
		least, _, _ := unstructured.NestedNumberAsFloat64(o.tree, "spec", "minReplicaCount")
		return targetFaults(r, kind, name, int32(least))
	case "HTTPRoute":
		return routeFaults(r, o)
	case "ServiceMonitor":
		return monitorFaults(r, o, "endpoints")
	case "PodMonitor":
		return monitorFaults(r, o, "podMetricsEndpoints")
	}
	return nil
}

func serviceFaults(r *release, service *corev1.Service) []string {
	chosen := r.selected(metav1.SetAsLabelSelector(service.Spec.Selector))
	if len(chosen) == 0 {
		return []string{"selects no pod"}
	}
	var faults []string
	for _, p := range chosen {
		for _, port := range service.Spec.Ports {
			if !hasPort(p, port.TargetPort) {
				faults = append(faults, fmt.Sprintf("its port %s leads to %s, which %s has not", port.Name, port.TargetPort.String(), p.owner))
			}
		}
	}
	return faults
}

func selectionFaults(r *release, selector *metav1.LabelSelector) []string {
	if len(r.selected(selector)) == 0 {
		return []string{"selects no pod"}
	}
	return nil
}

func networkFaults(r *release, policy *networkingv1.NetworkPolicy) []string {
	chosen := r.selected(&policy.Spec.PodSelector)
	if len(chosen) == 0 {
		return []string{"selects no pod"}
	}
	var faults []string
	for _, rule := range policy.Spec.Ingress {
		for _, port := range rule.Ports {
			for _, p := range chosen {
				if !hasPort(p, *port.Port) {
					faults = append(faults, fmt.Sprintf("opens %s, which %s has not", port.Port.String(), p.owner))
				}
			}
		}
	}
	for _, rule := range policy.Spec.Egress {
		for _, peer := range rule.To {
			if peer.PodSelector == nil || peer.NamespaceSelector != nil {
				continue
			}
			for _, fault := range selectionFaults(r, peer.PodSelector) {
				faults = append(faults, "egress "+fault)
			}
			for _, port := range rule.Ports {
				for _, p := range r.selected(peer.PodSelector) {
					if !hasPort(p, *port.Port) {
						faults = append(faults, fmt.Sprintf("leads to %s, which %s has not", port.Port.String(), p.owner))
					}
				}
			}
		}
	}
	return faults
}

func targetFaults(r *release, kind, name string, least int32) []string {
	target := r.find(kind, name)
	if target == nil {
		return []string{fmt.Sprintf("scales %s %s, which is not there", kind, name)}
	}
	var faults []string
	if _, fixed, _ := unstructured.NestedFieldNoCopy(target.tree, "spec", "replicas"); fixed {
		faults = append(faults, fmt.Sprintf("every upgrade would set %s back to its replicas", *target))
	}
	if least < 1 {
		faults = append(faults, "may scale to nothing")
	}
	return faults
}

func ingressFaults(r *release, ingress *networkingv1.Ingress) []string {
	var faults []string
	for _, rule := range ingress.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			to := path.Backend.Service
			faults = append(faults, backendFaults(r, to.Name, func(port corev1.ServicePort) bool {
				return port.Name == to.Port.Name && to.Port.Name != "" || port.Port == to.Port.Number
			})...)
		}
	}
	return faults
}

func routeFaults(r *release, o object) []string {
	rules, _, _ := unstructured.NestedSlice(o.tree, "spec", "rules")
	if len(rules) == 0 {
		return []string{"leads nowhere"}
	}
	var faults []string
	for _, rule := range rules {
		backends, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, backend := range backends {
			to := backend.(map[string]any)
			faults = append(faults, backendFaults(r, fmt.Sprint(to["name"]), func(port corev1.ServicePort) bool {
				return fmt.Sprint(to["port"]) == fmt.Sprint(port.Port)
			})...)
		}
	}
	return faults
}

func backendFaults(r *release, name string, fits func(corev1.ServicePort) bool) []string {
	o := r.find("Service", name)
	if o == nil {
		return []string{fmt.Sprintf("leads to Service %s, which is not there", name)}
	}
	if !slices.ContainsFunc(o.typed.(*corev1.Service).Spec.Ports, fits) {
		return []string{fmt.Sprintf("leads to a port that Service %s has not", name)}
	}
	return nil
}

// monitorFaults: a monitor finds pods by their labels or by those of Services, and ports by their names.
func monitorFaults(r *release, o object, endpoints string) []string {
	var selector metav1.LabelSelector
	tree, _, _ := unstructured.NestedMap(o.tree, "spec", "selector")
	if err := decode(tree, &selector); err != nil {
		return []string{err.Error()}
	}
	ports := map[string]bool{}
	components := map[string]bool{}
	for _, p := range r.pods {
		if endpoints == "podMetricsEndpoints" && matches(&selector, p.meta.Labels) {
			components[p.component()] = true
			for _, port := range p.spec.Containers[0].Ports {
				ports[port.Name] = true
			}
		}
	}
	for _, other := range r.objects {
		if service, is := other.typed.(*corev1.Service); is && endpoints == "endpoints" && matches(&selector, service.Labels) {
			for _, port := range service.Spec.Ports {
				ports[port.Name] = true
			}
			for _, p := range r.selected(metav1.SetAsLabelSelector(service.Spec.Selector)) {
				components[p.component()] = true
			}
		}
	}
	var faults []string
	if len(components) == 0 {
		faults = append(faults, "finds nothing")
	}
	for component := range components {
		if component != "gateway" && component != "persister" {
			faults = append(faults, fmt.Sprintf("finds %s, which has no metrics", component))
		}
	}
	found, _, _ := unstructured.NestedSlice(o.tree, "spec", endpoints)
	for _, endpoint := range found {
		if name := fmt.Sprint(endpoint.(map[string]any)["port"]); !ports[name] {
			faults = append(faults, fmt.Sprintf("scrapes the port %s, which nothing has", name))
		}
	}
	return faults
}

func (r *release) selected(selector *metav1.LabelSelector) []pod {
	var chosen []pod
	for _, p := range r.pods {
		if matches(selector, p.meta.Labels) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// matches is false for a selector that would take everything: none here means to.
func matches(selector *metav1.LabelSelector, have map[string]string) bool {
	judge, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && !judge.Empty() && judge.Matches(labels.Set(have))
}

func hasPort(p pod, port intstr.IntOrString) bool {
	for _, c := range p.spec.Containers {
		for _, have := range c.Ports {
			if port.Type == intstr.String && have.Name == port.StrVal || port.Type == intstr.Int && have.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	return false
}
