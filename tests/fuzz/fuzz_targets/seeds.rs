//! Writes what each target begins with to `corpus/TARGET/`, beside what was found before.

#[path = "../../it/hostile/forge.rs"]
mod forge;
#[path = "../targets.rs"]
#[allow(dead_code, reason = "only the seeds are used here")]
mod targets;

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in &targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
