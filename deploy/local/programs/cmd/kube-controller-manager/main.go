// Command kube-controller-manager runs Kubernetes' own kube-controller-manager: this file only gives the published package a main.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() { os.Exit(cli.Run(app.NewControllerManagerCommand())) }
