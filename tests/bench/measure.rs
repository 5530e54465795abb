//! Times, memory, and the table they go into.

use std::path::PathBuf;

/// Seconds that `work` took, and what it returned.
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads the files once, so that all contenders find them in memory.
pub fn warm(files: &[PathBuf]) {
    for file in files {
        std::io::copy(&mut std::fs::File::open(file).expect("open"), &mut std::io::sink()).expect("read");
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Forgets the peak of this process's memory so far (`clear_refs`, proc(5)).
pub fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("reset the peak");
}

/// The peak of this process's memory since then (`VmHWM`, proc(5)).
pub fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1024.0
}

/// Rows of ours, the limit and their ratio.
pub struct Table(Vec<[String; 4]>);

impl Table {
    pub fn new() -> Self {
        Self(vec![["".into(), "ours".into(), "limit".into(), "ratio".into()]])
    }

    pub fn row(&mut self, what: &str, ours: f64, limit_name: &str, limit: f64) {
        let limit_text = format!("{} ({limit_name})", seconds(limit));
        self.0.push([what.into(), seconds(ours), limit_text, format!("{:.2}", ours / limit)]);
    }

    pub fn bytes(&mut self, what: &str, ours: u64, limit_name: &str, limit: u64) {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let limit_text = format!("{} ({limit_name})", mib(limit));
        self.0.push([what.into(), mib(ours), limit_text, format!("{:.2}", ours as f64 / limit as f64)]);
    }

    pub fn note(&mut self, what: &str, ours: String) {
        self.0.push([what.into(), ours, String::new(), String::new()]);
    }

    pub fn print(&self) {
        for [what, ours, limit, ratio] in &self.0 {
            println!("{what:36} {ours:>10}   {limit:36} {ratio:>6}");
        }
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}
