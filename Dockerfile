# The program in a small image. Prompts and results are in the folder that is mounted at /work:
#   docker build -t paceline .
#   docker run --rm -e OPENAI_API_KEY --user "$(id -u):$(id -g)" -v "$PWD:/work" paceline run prompts.txt -m gpt-4o-mini --rpm 500
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# The certificates of the system are those that the program trusts.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/paceline /usr/local/bin/paceline
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["paceline"]
CMD ["--help"]
