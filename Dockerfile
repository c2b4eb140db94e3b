# One image per binary: docker build --target api | worker | cli .
# Written without a Docker engine at hand: not built yet.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# rusqlite and zstd compile C: the image brings gcc.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked -p trialmill-api -p trialmill-worker -p trialmill-cli --bins \
    && mkdir /out \
    && cp target/release/trialmill-api target/release/trialmill-worker target/release/trialmill /out/

# The certificates are those of the build image, so that the runtime image installs nothing.
FROM debian:bookworm-slim AS runtime
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A number and not a name: a cluster that demands non-root can check it.
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM

FROM runtime AS api
COPY --from=build /out/trialmill-api /usr/local/bin/trialmill-api
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["trialmill-api", "healthcheck"]
ENTRYPOINT ["trialmill-api"]

FROM runtime AS worker
COPY --from=build /out/trialmill-worker /usr/local/bin/trialmill-worker
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["trialmill-worker", "healthcheck"]
ENTRYPOINT ["trialmill-worker"]

FROM runtime AS cli
COPY --from=build /out/trialmill /usr/local/bin/trialmill
ENTRYPOINT ["trialmill"]
