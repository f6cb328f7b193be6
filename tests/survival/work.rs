//! Who does the work, and how is it told?
//!
//! Every processor has a worker with a ground of its own; a worker does one case after the other.
//! What came of it is a [`Table`] that README can show as it is.

use std::sync::Mutex;

use crate::commands::{CASES, Case};
use crate::ground::{Ground, processors};

/// Of how many points one is tried: all with `SURVIVAL=full`, one of `N` with `SURVIVAL=N`, else one
/// of as many as fit into a minute.
pub(crate) fn one_of(usual: usize) -> usize {
    match std::env::var("SURVIVAL").as_deref() {
        Ok("full") => 1,
        Ok(number) => number.parse().expect("SURVIVAL is `full` or a number"),
        Err(_) => usual,
    }
}

/// Has every case done by a worker that has a processor and a ground of its own.
pub(crate) fn on_all_processors<T: Send>(
    work: impl Fn(&Ground, usize, &'static Case) -> T + Sync,
) -> Vec<(&'static Case, T)> {
    let waiting = Mutex::new(CASES.iter().enumerate().filter(|(_, case)| is_asked_for(case)));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for processor in processors() {
            let (waiting, done, work) = (&waiting, &done, &work);
            scope.spawn(move || {
                let ground = Ground::new(processor);
                loop {
                    let next = waiting.lock().expect("nobody died").next();
                    let Some((number, case)) = next else { break };
                    ground.prepare(case.prepare);
                    let result = work(&ground, number, case);
                    done.lock().expect("nobody died").push((number, case, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody died");
    done.sort_by_key(|(number, ..)| *number);
    done.into_iter().map(|(_, case, result)| (case, result)).collect()
}

/// `SURVIVAL_ONLY=restore` plays the command lines whose name holds that.
fn is_asked_for(case: &Case) -> bool {
    std::env::var("SURVIVAL_ONLY").map_or(true, |word| case.name.contains(&word))
}

/// A row for each command line, a sum, and what did not survive.
pub(crate) struct Table {
    text: String,
    sums: Vec<usize>,
    survived: usize,
    tried: usize,
    pub(crate) failures: Vec<String>,
}

impl Table {
    /// Columns behind the first one, which is the command line; the last one is said in words.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let rule = "---|".repeat(columns.len() + 1);
        let text = format!("| command | {} |\n|{rule}\n", columns.join(" | "));
        let sums = vec![0; columns.len() - 1];
        Self { text, sums, survived: 0, tried: 0, failures: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: &str, cells: &[usize], survived: usize, tried: usize) {
        self.line(&format!("`{name}`"), cells, survived, tried);
        self.sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
        self.survived += survived;
        self.tried += tried;
    }

    /// Shows it, and fails if anything did not survive.
    pub(crate) fn finish(mut self) {
        self.line("all", &self.sums.clone(), self.survived, self.tried);
        println!("\n{}", self.text);
        let count = self.failures.len();
        assert!(count == 0, "{count} points did not survive:\n{}", self.failures.join("\n"));
        assert!(self.tried > 0, "nothing was tried");
    }

    fn line(&mut self, name: &str, cells: &[usize], survived: usize, tried: usize) {
        let cells: Vec<String> = cells.iter().map(usize::to_string).collect();
        self.text
            .push_str(&format!("| {name} | {} | {survived} of {tried} |\n", cells.join(" | ")));
    }
}
