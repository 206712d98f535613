//! `cargo xtask fuzz`: every target for so many minutes of processor time, one after another, and the
//! table of docs/fuzzing.md for that run.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;
use wait4::Wait4;

use crate::command::{command, output, run, workspace_root};

/// The targets of fuzz/ and the longest input of each, in bytes.
const TARGETS: [(&str, u32); 14] = [
    ("artifacts", 4096),
    ("bundle", 16384),
    ("patch", 8192),
    ("dissect", 16384),
    ("decode", 4096),
    ("recipe", 6144),
    ("prove", 4096),
    ("predict", 8192),
    ("diff_apply", 16384),
    ("rdiff_delta", 4096),
    ("rdiff_signature", 4096),
    ("rdiff_pair", 16384),
    ("swu", 8192),
    ("sw_description", 4096),
];
/// A run of the fuzzer takes so many seconds; processor time is counted between runs.
const RUN_S: u64 = 300;
/// What an input may take before it counts as a finding.
const RSS_MB_MAX: u32 = 1024;
const INPUT_S_MAX: u32 = 20;

#[derive(Args)]
pub struct Options {
    /// Minutes of processor time for each target.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Only this target; may be given several times.
    #[arg(long)]
    target: Vec<String>,
}

/// What a target came to.
#[derive(Debug, Default)]
struct Outcome {
    cpu_s: f64,
    executions: u64,
    coverage: u64,
}

/// Builds the targets and runs them. Inputs that are worth keeping stay in fuzz/target/corpus, findings
/// in fuzz/artifacts.
///
/// # Errors
/// When a target cannot be built or started, or finds something.
pub fn fuzz(options: &Options) -> Result<()> {
    let fuzz = workspace_root().join("fuzz");
    // The C libraries are instrumented too; the runtime is LLVM's, which GCC's code does not fit.
    let build = |target: Option<&str>| {
        let mut build = command("cargo", ["+nightly", "fuzz", "build", "-O", "--debug-assertions"]);
        build.args(target).current_dir(workspace_root()).env("CC", "clang").env("CXX", "clang++");
        run(&mut build)
    };
    if options.target.is_empty() {
        build(None)?;
    }
    options.target.iter().try_for_each(|target| build(Some(target)))?;
    let host = output(&mut command("rustc", ["--print", "host-tuple"]))?;
    let programs = fuzz.join("target").join(host).join("release");
    println!("| target | processor minutes | executions | edges covered |\n|---|---|---|---|");
    for (target, len_max) in TARGETS {
        if !options.target.is_empty() && !options.target.iter().any(|chosen| chosen == target) {
            continue;
        }
        let mut outcome = Outcome::default();
        while outcome.cpu_s < 60.0 * options.minutes as f64 {
            one_run(&fuzz, &programs.join(target), target, len_max, &mut outcome)?;
        }
        let Outcome { cpu_s, executions, coverage } = outcome;
        println!("| `{target}` | {:.1} | {executions} | {coverage} |", cpu_s / 60.0);
    }
    Ok(())
}

fn one_run(fuzz: &Path, program: &Path, target: &str, len_max: u32, outcome: &mut Outcome) -> Result<()> {
    let found = fuzz.join("target/corpus").join(target);
    let artifacts = fuzz.join("artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut fuzzer = command(program, [&found, &fuzz.join("corpus").join(target)]);
    if target == "dissect" {
        fuzzer.arg(workspace_root().join("crates/image/tests/seeds"));
    }
    fuzzer
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([format!("-rss_limit_mb={RSS_MB_MAX}"), format!("-timeout={INPUT_S_MAX}")])
        .args([format!("-max_total_time={RUN_S}"), format!("-max_len={len_max}")])
        .arg("-print_final_stats=1")
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .stdout(Stdio::null());
    let log = fuzz.join("target").join(format!("{target}.log"));
    let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let child = fuzzer.stderr(file).spawn().with_context(|| program.display().to_string())?;
    let end = child.wait4()?;
    let said = fs::read(&log).with_context(|| log.display().to_string())?;
    let said = String::from_utf8_lossy(&said);
    outcome.cpu_s += (end.rusage.utime + end.rusage.stime).as_secs_f64();
    outcome.executions += number_behind(&said, "stat::number_of_executed_units:").unwrap_or(0);
    outcome.coverage = outcome.coverage.max(number_behind(&said, " cov: ").unwrap_or(0));
    if !end.status.success() {
        bail!(
            "{target}: {}: the input is in {}, what it said in {}",
            end.status,
            artifacts.display(),
            log.display()
        );
    }
    Ok(())
}

/// The number that stands behind the last `label`.
fn number_behind(text: &str, label: &str) -> Option<u64> {
    let rest = &text[text.rfind(label)? + label.len()..];
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_end() {
        let said = "#8 NEW cov: 12 ft: 3\n#9 NEW cov: 15 ft: 4\nstat::number_of_executed_units: 348813\n";
        assert_eq!(number_behind(said, " cov: "), Some(15));
        assert_eq!(number_behind(said, "stat::number_of_executed_units:"), Some(348_813));
        assert_eq!(number_behind(said, "nothing"), None);
    }

    #[test]
    fn every_target_is_known_and_has_a_corpus() {
        let fuzz = workspace_root().join("fuzz");
        let entries = fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        let mut known = TARGETS.map(|(target, _)| target);
        known.sort_unstable();
        assert_eq!(names, known);
        for target in known {
            assert!(fs::read_dir(fuzz.join("corpus").join(target)).unwrap().count() > 3, "{target}");
        }
    }
}
