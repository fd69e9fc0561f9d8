# Both programs of kafka-tunnel, for linux/amd64: docker build --platform linux/amd64 -t kafka-tunnel .
#
#   docker run IMAGE tunnel-server --listen 0.0.0.0:8080 ...
#   docker run IMAGE tunnel-client --server https://... --kafka 0.0.0.0:9092 ...
#
# The image contains the two programs, the libraries that they load, and the certificates of public CAs. It has no shell, no package
# manager and no ENTRYPOINT, and runs as user 65532. scripts/check-image builds and tests it.

# Any Debian 13, whose OpenSSL encrypts AES-GCM much faster than Debian 12's. If you cannot reach a registry, use one made by debootstrap.
ARG BASE=docker.io/library/debian:13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY scripts/install-deps scripts/
RUN scripts/install-deps build && rm -rf /var/lib/apt/lists/*
COPY . .
RUN meson setup /build --prefix /usr --buildtype release -Dsystemd_unit_dir= && \
    ninja -C /build tunnel-client/tunnel-client tunnel-server/tunnel-server && \
    scripts/image-root /image /build/tunnel-client/tunnel-client /build/tunnel-server/tunnel-server

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/bin \
    TUNNEL_STATUS=127.0.0.1:9091
USER 65532:65532
WORKDIR /
# Both programs serve /readyz at TUNNEL_STATUS. It is 200 while the client's link is up, or while the server reaches a broker of each cluster.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["tunnel-client", "wait", "--max", "3s"]
# The programs drain for 25 s (--drain-timeout), so use docker stop --time 30.
STOPSIGNAL SIGTERM
CMD ["tunnel-client", "--help"]
