// One program that is each part of a Kubernetes control plane, by its first argument.
//
// tests/kube/cluster.py builds and starts it. There is one program rather than five because what
// they link is mostly the same, and linking Kubernetes five times costs minutes and half a gigabyte.
// Nothing is configured here: all of it is flags.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// As sysexits.h has it: the command line is wrong.
const exitUsage = 64

var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() },
}

func main() {
	if len(os.Args) < 2 {
		refuse("name a part as the first argument")
	}
	part := os.Args[1]
	// Each part reads its flags from behind its own name.
	os.Args = os.Args[1:]
	if part == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	if part == "service-account-key" {
		printServiceAccountKey()
		return
	}
	command, known := commands[part]
	if !known {
		refuse(fmt.Sprintf("there is no part %q", part))
	}
	os.Exit(cli.Run(command()))
}

// The one key that the servers do not make themselves. Here, so that nothing outside is needed for it.
func printServiceAccountKey() {
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot make a key:", err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(key)
}

func refuse(why string) {
	fmt.Fprintf(os.Stderr, "%s; the parts are etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and service-account-key\n", why)
	os.Exit(exitUsage)
}
