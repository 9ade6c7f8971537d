# The recipes of everyday work; CI runs `.ci/run`, which is the same in order.

# What there is.
default:
    @just --list

# Format, lint, test: before every commit.
check:
    cargo fmt --all
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked

# The tests, in parallel where cargo-nextest is installed.
test *ARGS:
    if command -v cargo-nextest >/dev/null; then cargo nextest run --locked {{ARGS}}; else cargo test --locked {{ARGS}}; fi

# Tools that the tests compare bugle with.
tools:
    bash .ci/tools

# A small fleet on loopback and a command across it.
fleet *ARGS:
    cargo run --locked --example fleet -- {{ARGS}}

# The measurements of docs/performance.md.
bench *ARGS:
    bash benches/run {{ARGS}}
