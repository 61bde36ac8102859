package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// unavailable is what parlance exits with when it accepts all that it was told, but something that it
// needs does not answer.
const unavailable = 69

// longest is far more than a process takes to find that nothing answers.
const longest = time.Minute

// settingFaults runs what each pod of parlance would run, with its arguments, its file, its variables and
// files in the place of its Secrets. There is nothing for it to connect to: it has to find nothing else
// wrong than that.
func settingFaults(r *release, program string) ([]string, error) {
	var faults []string
	judged := 0
	for _, p := range r.pods {
		if p.spec.Containers[0].Name != "parlance" {
			continue
		}
		fault, err := settingFault(r, p, program)
		if err != nil {
			return nil, err
		}
		if fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s", p.owner, fault))
		}
		judged++
	}
	if judged == 0 {
		faults = append(faults, "no pod runs parlance")
	}
	return faults, nil
}

// settingFault is empty if the program accepts everything.
func settingFault(r *release, p pod, program string) (string, error) {
	root, err := os.MkdirTemp("", "chartcheck")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(root)
	if err := writeFiles(r, p, root); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	container := p.spec.Containers[0]
	var args []string
	for _, arg := range container.Args {
		args = append(args, inside(root, arg))
	}
	command := exec.CommandContext(within, program, args...)
	for _, variable := range container.Env {
		command.Env = append(command.Env, variable.Name+"="+inside(root, variable.Value))
	}
	settings, err := settingsOf(r, p)
	if err != nil {
		return "", err
	}
	command.Env = append(command.Env, elsewhere(container, settings)...)
	said, err := command.CombinedOutput()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == unavailable {
		return "", nil
	}
	return fmt.Sprintf("%s with %q: %v, not exit status %d: %s", program, args, err, unavailable, said), nil
}

// elsewhere is what has to be otherwise on this machine: ports may be taken, names of the cluster are not
// known, and nobody wants to wait. Of a variable that is there twice the last one counts.
func elsewhere(c corev1.Container, settings map[string]any) []string {
	variables := []string{
		"PARLANCE_LISTEN=127.0.0.1:0",
		"PARLANCE_ADMIN__LISTEN=127.0.0.1:0",
		"PARLANCE_REDIS__START_DEADLINE=1s",
	}
	if settings["store"] != nil {
		variables = append(variables, "PARLANCE_STORE__NODES="+nobody, "PARLANCE_STORE__START_DEADLINE=1s")
	}
	if variable(c, "PARLANCE_REDIS__URLS") != "" {
		variables = append(variables, "PARLANCE_REDIS__URLS=redis://"+nobody)
	}
	return variables
}

// nobody is an address where nothing answers.
const nobody = "127.0.0.1:1"

func writeFiles(r *release, p pod, root string) error {
	text, err := settingsText(r, p)
	if err != nil {
		return err
	}
	if err := write(root, "/etc/parlance/config/parlance.toml", []byte(inside(root, text))); err != nil {
		return err
	}
	for _, v := range p.spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			for _, item := range source.Secret.Items {
				secret, err := secretLike(item.Path)
				if err != nil {
					return err
				}
				if err := write(root, "/etc/parlance/secrets/"+item.Path, secret); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func inside(root, text string) string {
	return strings.ReplaceAll(text, "/etc/parlance/", root+"/etc/parlance/")
}

func write(root, path string, text []byte) error {
	at := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	return os.WriteFile(at, text, 0o600)
}
