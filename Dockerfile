# syntax=docker/dockerfile:1
# Enfilade as an image: the binary with the page inside, the libraries that it loads, and nothing else. Runs as nobody in particular.
#   docker build -t enfilade . && docker run -p 8080:8080 -v enfilade:/data enfilade

FROM node:22-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
COPY web/client/package.json client/
COPY web/app/package.json app/
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm --prefix app run build

FROM rust:1.95-bookworm AS binary
WORKDIR /src
ENV CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols
COPY . .
COPY --from=page /src/web/app/dist web/app/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p enfilade-node --bin enfilade -p enfilade-loadtest --bin enfilade-loadtest && \
    tools/image-root /image target/release/enfilade target/release/enfilade-loadtest
# The data folder, to be owned by whom the node runs as.
RUN mkdir /data

# Of no base image, even a small one: with it this one would be half as large again. `tools/image` builds this stage without Docker.
FROM scratch
# Whoever lists what is in the image finds where it is from: --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date -u +%FT%TZ)
ARG VERSION=0.2.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Enfilade" \
      org.opencontainers.image.description="Realtime rooms for people who draw, write and talk together" \
      org.opencontainers.image.url="https://github.com/enfilade/enfilade" \
      org.opencontainers.image.source="https://github.com/enfilade/enfilade" \
      org.opencontainers.image.documentation="https://github.com/enfilade/enfilade/blob/main/README.md" \
      org.opencontainers.image.vendor="Enfilade" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# With the load tester: for `helm test`, and for whoever wants to know what their cluster can bear.
COPY --from=binary /image /
COPY --from=binary --chown=65532:65532 /data /data
ENV ENFILADE_LISTEN=0.0.0.0:8080 \
    ENFILADE_ADMIN_LISTEN=0.0.0.0:9090 \
    ENFILADE_DATA_DIR=/data \
    ENFILADE_LOG_FORMAT=json
VOLUME /data
# 9090 is for operators: publish it to nobody else.
EXPOSE 8080 9090
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/bin/enfilade", "probe", "ready"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/enfilade"]
CMD ["serve"]
