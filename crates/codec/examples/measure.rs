//! Measures how well streams come back: `measure [--fast|--max] [--format NAME] [--align BYTES] FILE...`
//!
//! Each file is one stream. With `--align`, each so many bytes of it are looked at as a block that
//! is filled from its end, as EROFS keeps them; with `--format`, the format is not guessed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fluvial_codec::{Budget, Effort, Format, PackContext, Prover, UnpackError};

#[derive(Default)]
struct Totals {
    streams: usize,
    back: usize,
    packed_bytes: u64,
    plain_bytes: u64,
    correction_bytes: u64,
    memory_bytes_max: u64,
    prove: Duration,
    pack: Duration,
    recipes: BTreeMap<String, usize>,
    failures: BTreeMap<String, usize>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut budget = Budget { memory_bytes: 1 << 30, plain_bytes_max: 1 << 30, effort: Effort::Default };
    let (mut format, mut align) = (None, None);
    let mut paths = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--fast" => budget.effort = Effort::Fast,
            "--max" => budget.effort = Effort::Max,
            "--align" => align = Some(args.next().ok_or("--align BYTES")?.parse::<usize>()?),
            "--format" => {
                let name = args.next().ok_or("--format NAME")?;
                format = (0..10).filter_map(Format::from_code).find(|format| format.to_string() == name);
                if format.is_none() {
                    return Err(format!("no format {name}").into());
                }
            }
            _ => paths.push(arg),
        }
    }
    let mut prover = Prover::new(budget);
    let mut totals = Totals::default();
    let mut context = PackContext::new();
    for path in &paths {
        let bytes = std::fs::read(path)?;
        for block in bytes.chunks(align.unwrap_or(bytes.len()).max(1)) {
            let start = if align.is_some() { block.iter().take_while(|&&byte| byte == 0).count() } else { 0 };
            let block = &block[start..];
            if let Some(format) = format.or_else(|| Format::sniff(block)) {
                totals.measure(&mut prover, &mut context, format, block, align.is_some());
            }
        }
    }
    totals.print();
    Ok(())
}

impl Totals {
    fn measure(
        &mut self,
        prover: &mut Prover,
        context: &mut PackContext,
        format: Format,
        packed: &[u8],
        guessed: bool,
    ) {
        let start = Instant::now();
        let unpacked = prover.unpack(format, packed);
        self.prove += start.elapsed();
        match unpacked {
            // Not a block at all.
            Err(UnpackError::Decode(_)) if guessed => {}
            Err(error) => {
                self.streams += 1;
                *self.failures.entry(error.to_string()).or_default() += 1;
            }
            Ok(unpacked) => {
                self.streams += 1;
                self.back += 1;
                self.packed_bytes += unpacked.packed_len as u64;
                self.plain_bytes += unpacked.plain.len() as u64;
                self.correction_bytes += unpacked.corrections.len() as u64;
                let memory = unpacked.recipe.pack_memory_bytes(unpacked.plain.len() as u64, u64::MAX);
                self.memory_bytes_max = self.memory_bytes_max.max(memory);
                *self.recipes.entry(unpacked.recipe.to_string()).or_default() += 1;
                let mut again = Vec::new();
                let start = Instant::now();
                let packed_again =
                    unpacked.recipe.pack_block(&unpacked.plain, &unpacked.corrections, context, &mut again);
                self.pack += start.elapsed();
                assert!(packed_again.is_ok() && again == packed[..unpacked.packed_len]);
            }
        }
    }

    fn print(&self) {
        let rate = |time: Duration| self.plain_bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9);
        println!(
            "{} of {} streams come back: {} bytes packed, {} plain, {} of corrections ({:.2} %)",
            self.back,
            self.streams,
            self.packed_bytes,
            self.plain_bytes,
            self.correction_bytes,
            100.0 * self.correction_bytes as f64 / self.packed_bytes.max(1) as f64,
        );
        println!(
            "unpacking and proving {:.1} MB/s, packing {:.1} MB/s of content, at most {:.1} MB declared",
            rate(self.prove),
            rate(self.pack),
            self.memory_bytes_max as f64 / 1e6,
        );
        for (name, count) in self.recipes.iter().chain(&self.failures) {
            println!("{count:8} {name}");
        }
    }
}
