# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH VERSION="(devel)" COMMIT=""
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X 'main.version=$VERSION${COMMIT:+ $COMMIT}'" -o /fastpubsub ./cmd/fastpubsub \
    && mkdir /data

FROM scratch
COPY --from=build /fastpubsub /fastpubsub
COPY --from=build --chown=65532:65532 /data /data
# whom to trust for certificates by ACME (--domain), and for OpenTelemetry by https
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532
VOLUME /data
EXPOSE 7946/udp 7946/tcp 8080/tcp
ENV FASTPUBSUB_LISTEN=0.0.0.0:7946 FASTPUBSUB_WS=0.0.0.0:8080 FASTPUBSUB_DATA_DIR=/data
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/fastpubsub", "status", "--check"]
ENTRYPOINT ["/fastpubsub"]
CMD ["node"]
