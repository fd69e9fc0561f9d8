{{- /*
tunnel-client beside an application, as a native sidecar (Kubernetes 1.29 and later): an init container with restartPolicy: Always. It is
up before the pod's containers start, and stops after they have ended, so that a Job completes. The containers of a pod share localhost:
they reach Kafka at 127.0.0.1:9092.

Each template takes the values as a dictionary, from where your chart has them: {{ include "tunnel-client.sidecar" .Values.tunnel }}.

    server       --server, required
    secret       the Secret with the key `token` (--token-file), required
    image        {repository, tag, pullPolicy}
    kafka        --kafka, a list (default: 9092)
    tcp          {NAME: PORT} of --tcp, for services other than Kafka
    proxySecret  a Secret with the key `proxy`: the URL of --proxy, with its login
    options      any other option, as in docs/configuration.md, without the dashes
    resources    of the container

The pod's terminationGracePeriodSeconds must be more than what your containers take to stop, and --drain-timeout (25 s).
*/}}

{{- /* An entry of initContainers. */}}
{{- define "tunnel-client.sidecar" -}}
{{- $image := .image | default dict }}
- name: tunnel-client
  image: {{ printf "%s:%v" ($image.repository | default "registry.example.com/kafka-tunnel") ($image.tag | default "0.1.0") | quote }}
  imagePullPolicy: {{ $image.pullPolicy | default "IfNotPresent" }}
  restartPolicy: Always
  args:
    - tunnel-client
    - --server
    - {{ required "tunnel-client: 'server' is the URL of tunnel-server, as in https://kafka.example.com" .server | quote }}
    - --token-file
    - /run/secrets/tunnel/token
    {{- range .kafka }}
    - --kafka
    - {{ . | quote }}
    {{- end }}
    {{- range $name, $port := .tcp }}
    - --tcp
    - {{ printf "%s=%v" $name $port | quote }}
    {{- end }}
    {{- range $name, $value := .options }}
    - {{ printf "--%s=%v" $name $value | quote }}
    {{- end }}
  env:
    # The status page, for the probes. It listens on loopback only.
    - {name: TUNNEL_STATUS, value: "127.0.0.1:9091"}
    {{- with .proxySecret }}
    - name: TUNNEL_PROXY
      valueFrom:
        secretKeyRef: {name: {{ . }}, key: proxy}
    {{- end }}
  # The pod's containers start when this probe succeeds, that is when the link is up.
  startupProbe:
    exec:
      command: [tunnel-client, wait, --status, "127.0.0.1:9091", --max, 2s]
    timeoutSeconds: 3
    periodSeconds: 1
    failureThreshold: 60
  resources:
    {{- with .resources }}{{ toYaml . | nindent 4 }}{{ else }}
    requests: {cpu: 100m, memory: 64Mi}
    limits: {memory: 512Mi}
    {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: tunnel-token, mountPath: /run/secrets/tunnel, readOnly: true}
{{- end }}

{{- /* An entry of volumes. The group is that of the pod's fsGroup. */}}
{{- define "tunnel-client.volume" -}}
- name: tunnel-token
  secret: {secretName: {{ required "tunnel-client: 'secret' names the Secret with the token" .secret }}, defaultMode: 288}  # 0440
{{- end }}

{{- /* The pod's securityContext: the image's user, and a group that may read the token. */}}
{{- define "tunnel-client.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
