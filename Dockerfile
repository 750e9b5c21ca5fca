# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    .ci/build /trunkline "$VERSION"

FROM gcr.io/distroless/static:nonroot
COPY --from=build /trunkline /trunkline
# HTTP and WebSocket, gRPC. The internal listener stays on loopback.
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["/trunkline", "health", "ready"]
ENTRYPOINT ["/trunkline"]
CMD ["serve"]
