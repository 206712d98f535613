//! The task runner: `cargo xtask ci` checks the workspace, `cargo xtask bench` builds real data and
//! measures the engine against its peers on it, `cargo xtask engines` runs container engines for tests, `cargo xtask fuzz` runs the fuzz targets, `cargo xtask demo` shows the main job on real data.
//!
//! It runs other programs and reads their results; it holds no logic of the product.

mod bench;
mod ci;
mod command;
mod demo;
mod engines;
mod fuzz;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's task runner")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything that must hold before a change lands.
    Ci(ci::Options),
    /// Make, inspect and apply a patch between two real versions of a program.
    Demo,
    /// Run the fuzz targets; needs a nightly compiler and cargo-fuzz.
    Fuzz(fuzz::Options),
    /// Install, start or stop a private dockerd, podman service and registry; needs root.
    Engines {
        #[command(subcommand)]
        step: engines::Step,
    },
    /// Build the benchmark's data, or run the benchmark.
    Bench {
        #[command(subcommand)]
        step: bench::Step,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Ci(options) => ci::run_all(&options),
        Task::Demo => demo::show(),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Engines { step } => engines::run(step),
        Task::Bench { step } => bench::run(step),
    }
}
