{{/*
What the operator may do where LlamaDeployments live: in the whole cluster by a ClusterRole, or in each watched namespace by a Role.

Secrets: `create`, and nothing else. The operator makes one per LlamaDeployment, the Ray token, and can compute it again from the key in its
own namespace; what a LlamaDeployment refers to (tokenSecretRef) is given to the pod by the kubelet. So a stolen token of this service
account reads nobody's Secrets (docs/adr/0004-tokens-without-reading-secrets.md).
*/}}
{{- define "llama-operator.namespacedRules" -}}
- apiGroups: [llama-operator.dev]
  resources: [llamadeployments]
  verbs: [get, list, watch, patch]
- apiGroups: [llama-operator.dev]
  resources: [llamadeployments/status]
  verbs: [get, patch]
# To set blockOwnerDeletion on children, where the API server checks that (OwnerReferencesPermissionEnforcement).
- apiGroups: [llama-operator.dev]
  resources: [llamadeployments/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods, services, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# To name who scales a LlamaDeployment beside its own autoscaler; listed only while somebody does.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
