//! Which files a job reads, in which order and format.

use super::foreign;
use super::open::{Compression, Handle, Pipe, Source, Stamp, read_full};
use crate::error::printable;
use crate::records::partition::{self, Key};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What a file holds, under its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One JSON array of objects.
    JsonArray,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC file (also known as Feather 2).
    ArrowFile,
    /// Arrow IPC stream, as `datasets` saves it.
    ArrowStream,
}

impl Format {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "JSONL",
            Self::JsonArray => "JSON array",
            Self::Parquet => "Parquet",
            Self::ArrowFile => "Arrow IPC file",
            Self::ArrowStream => "Arrow IPC stream",
        }
    }

    /// Whether records come as rows of a table rather than as JSON.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Parquet | Self::ArrowFile | Self::ArrowStream)
    }
}

/// One input file.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is; `-` for standard input.
    pub path: PathBuf,
    /// Its path relative to the inputs' common root, with `/` between folders.
    pub name: String,
    /// What tells whether it is still the same (zeros for a pipe).
    pub stamp: Stamp,
    /// How it is packed.
    pub compression: Compression,
    /// What it holds.
    pub format: Format,
    /// What the names of its folders say: `language=en`.
    pub keys: Vec<Key>,
    /// What it is read from if it can't be opened twice: standard input, a pipe, a device.
    pub pipe: Option<Arc<Pipe>>,
}

impl Input {
    /// Bytes on disk (0 for a pipe).
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Whether it is a file without a byte.
    pub fn is_empty(&self) -> bool {
        self.pipe.is_none() && self.stamp.size == 0
    }

    /// Opens it at a decompressed offset; `count` is told of every byte read from disk.
    ///
    /// # Errors
    /// That of the operating system, and a pipe that was read already.
    pub fn open(&self, offset: u64, count: &Arc<AtomicU64>) -> io::Result<Source> {
        match &self.pipe {
            Some(pipe) => Source::of_pipe(pipe, self.compression, offset, count),
            None => Source::open(&self.path, self.compression, offset, count),
        }
    }

    /// Opens it, from its start, to be read from any place.
    ///
    /// # Errors
    /// That of the operating system, and a pipe that was not kept.
    pub fn open_file(&self) -> io::Result<Handle> {
        match &self.pipe {
            Some(pipe) => pipe.handle(),
            None => Handle::open(&self.path),
        }
    }

    /// Refuses a file that is no longer the one that was found.
    ///
    /// # Errors
    /// A file of other size, time of change or identity.
    pub fn check(&self, file: &Handle) -> Result<()> {
        let now = file.stamp().map_err(|e| Error::io(&self.path, e))?;
        if self.pipe.is_some() || now == self.stamp {
            return Ok(());
        }
        let (before, now) = (self.stamp.size, now.size);
        let how =
            if before == now { "was written to" } else { &format!("went from {before} to {now} bytes") };
        Err(Error::Input(format!(
            "{}: the file {how} while the job ran: run it again when nothing writes to the file",
            self.name
        )))
    }
}

/// A file that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the inputs' common root.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// The inputs of a job, in byte order of their names.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The files.
    pub files: Vec<Input>,
    /// What was passed over in the given folders.
    pub skipped: Vec<Skipped>,
}

impl Inputs {
    /// Whether some of it can be read once only, so that an interrupted run can't go on.
    pub fn has_pipe(&self) -> bool {
        self.files.iter().any(|f| f.pipe.is_some())
    }

    /// Keeps what comes through pipes in temporary files, so that it can be read again and from any place.
    ///
    /// # Errors
    /// Pipes that can't be read, temporary files that can't be written, and [`Error::Interrupted`] soon after
    /// `cancel` is set.
    pub fn keep_pipes(&self, cancel: &AtomicBool) -> Result<()> {
        for file in &self.files {
            let Some(pipe) = &file.pipe else { continue };
            pipe.keep(cancel).map_err(|e| match e.kind() {
                io::ErrorKind::Interrupted => Error::Interrupted,
                _ => Error::Input(format!(
                    "{}: it has to be read twice, but can't be kept in a temporary file in {} (TMPDIR): {e}",
                    file.name,
                    std::env::temp_dir().display()
                )),
            })?;
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.files.iter().map(Input::size).sum()
    }

    /// Whether the files are tables; `false` if they are JSON.
    pub fn is_table(&self) -> bool {
        self.files.first().is_some_and(|f| f.format.is_table())
    }
}

/// Bytes of a stream's start that its format is told from: more than the largest block of Zstandard.
const HEAD_BYTES: usize = 256 << 10;

/// Bytes of unpacked text that tell lines from an array.
const TEXT_BYTES: usize = 4096;

/// Finds the files that `patterns` name: files, folders (with all that is below them), globs, or `-`.
///
/// `own` are folders of this job's own output, which are never read. Files that are not JSON, Parquet
/// or Arrow by name, hidden ones, and those that by convention hold metadata, are passed over in folders,
/// but read where they are named.
///
/// # Errors
/// A pattern that nothing matches, a file that can't be opened or is named and of a format that is not
/// read, JSON beside tables, and `-` beside files.
pub fn discover(patterns: &[String], own: &[PathBuf]) -> Result<Inputs> {
    if patterns.is_empty() {
        return Err(Error::Input(
            "no input given: name files, folders, globs, or - for standard input".into(),
        ));
    }
    if patterns.iter().any(|p| p == "-") {
        return if patterns.len() == 1 { stdin() } else { Err(stdin_beside_files()) };
    }
    let mut walk =
        Walk { own: own.iter().filter_map(|p| fs::canonicalize(p).ok()).collect(), ..Walk::default() };
    for pattern in patterns {
        walk.add(pattern)?;
    }
    let root = common_root(&walk.roots);
    let name = |path: &Path| relative_name(path, &root);
    walk.drop_links();
    let mut files = Vec::with_capacity(walk.files.len());
    for path in &walk.files {
        let keys = partition::keys(path, &root);
        files.push(Input { keys, ..inspect(path, name(path), walk.named.contains(path))? });
    }
    for path in &walk.pipes {
        files.push(inspect(path, printable(path.as_os_str()), true)?);
    }
    files.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()).then_with(|| a.path.cmp(&b.path)));
    let skipped =
        walk.skipped.iter().map(|(path, reason)| Skipped { file: name(path), reason: reason.clone() });
    let mut skipped: Vec<_> = skipped.collect();
    skipped.sort_by(|a, b| a.file.cmp(&b.file));
    skipped.dedup();
    if files.is_empty() {
        return Err(nothing_there(patterns, &skipped));
    }
    check_one_kind(&files)?;
    Ok(Inputs { files, skipped })
}

fn nothing_there(patterns: &[String], skipped: &[Skipped]) -> Error {
    let first = skipped.first().map(|s| format!(", the first {}: {}", s.file, s.reason)).unwrap_or_default();
    let (there, passed) = (patterns.join(", "), skipped.len());
    Error::Input(format!("{there}: no JSON, Parquet or Arrow file there ({passed} files passed over{first})"))
}

fn stdin_beside_files() -> Error {
    Error::Input("standard input (-) can't be read together with files: give one or the other".into())
}

/// Standard input as the only file.
fn stdin() -> Result<Inputs> {
    let path = Path::new("-");
    let stdin = pipe(path, "-".into(), Box::new(io::stdin()))?;
    Ok(Inputs { files: vec![stdin], skipped: Vec::new() })
}

/// Looks at the start of a stream that can be read once.
fn pipe(path: &Path, name: String, mut stream: Box<dyn Read + Send>) -> Result<Input> {
    let mut head = vec![0; HEAD_BYTES];
    let n = read_full(&mut stream, &mut head).map_err(|e| Error::io(path, e))?;
    head.truncate(n);
    if let Some(foreign) = foreign::by_content(&head) {
        return Err(foreign.error(if name == "-" { "standard input" } else { &name }));
    }
    let compression = Compression::of(&head);
    let unpacked = || Source::peek(head.clone(), None, compression);
    let format = format(&head, compression, path, unpacked);
    let pipe = Some(Arc::new(Pipe::new(head, stream)));
    let (path, stamp, keys) = (path.to_path_buf(), Stamp::default(), Vec::new());
    Ok(Input { path, name, stamp, compression, format, keys, pipe })
}

/// What a file or stream with this start holds.
fn format(
    head: &[u8],
    compression: Compression,
    path: &Path,
    unpacked: impl FnOnce() -> io::Result<Source>,
) -> Format {
    match binary_format(head).or_else(|| named_table(path, compression)) {
        Some(format) => format,
        None => match unpacked() {
            Ok(mut source) => text_format(&mut source, path),
            Err(_) => Format::Jsonl,
        },
    }
}

/// Tables and JSON have different outputs, so they are not mixed.
fn check_one_kind(files: &[Input]) -> Result<()> {
    let first = &files[0];
    match files.iter().find(|f| f.format.is_table() != first.format.is_table()) {
        None => Ok(()),
        Some(other) => Err(Error::Input(format!(
            "{} is {} but {} is {}: bucket JSON and tables in separate runs",
            first.name,
            first.format.name(),
            other.name,
            other.format.name()
        ))),
    }
}

/// Collects files.
#[derive(Default)]
struct Walk {
    own: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// Those that were not just found in a folder.
    named: HashSet<PathBuf>,
    /// Pipes and devices that were named.
    pipes: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
    folders: HashSet<PathBuf>,
    skipped: Vec<(PathBuf, String)>,
}

impl Walk {
    fn add(&mut self, pattern: &str) -> Result<()> {
        let path = Path::new(pattern);
        if path.is_dir() {
            let folder = fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
            self.roots.push(folder.clone());
            return self.add_folder(&folder);
        }
        if path.exists() || !pattern.contains(['*', '?', '[']) {
            if !fs::metadata(path).map_err(|e| Error::io(path, e))?.is_file() {
                if self.seen.insert(path.to_path_buf()) {
                    self.pipes.push(path.to_path_buf());
                }
                return Ok(());
            }
            let path = canonical(path)?;
            self.roots.push(path.parent().unwrap_or(Path::new("/")).to_path_buf());
            self.named.insert(path.clone());
            self.add_file(path);
            return Ok(());
        }
        self.add_glob(pattern)
    }

    fn add_glob(&mut self, pattern: &str) -> Result<()> {
        let found = expand(pattern)?;
        let literal = literal_start(Path::new(pattern));
        if !found.is_empty() {
            let root = if literal.as_os_str().is_empty() { Path::new(".") } else { &literal };
            self.roots.push(fs::canonicalize(root).map_err(|e| Error::io(root, e))?);
        }
        let mut matched = false;
        for found in found {
            if self.is_own(&found) {
                self.skip_own(&found);
                continue;
            }
            matched = true;
            if let Some(reason) = metadata_below(&found, &literal, pattern) {
                let found = canonical(&found)?;
                self.skip(&found, reason);
            } else if found.is_dir() {
                let folder = fs::canonicalize(&found).map_err(|e| Error::io(&found, e))?;
                self.add_folder(&folder)?;
            } else if is_special(&found) {
                self.skip(&found, SPECIAL);
            } else {
                let found = canonical(&found)?;
                self.named.insert(found.clone());
                self.add_file(found);
            }
        }
        if !matched {
            return Err(Error::Input(format!("{pattern}: no file matches")));
        }
        Ok(())
    }

    /// Adds what is below a folder. A folder that links lead to again is read once.
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let real = fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?;
        if !self.folders.insert(real.clone()) {
            return Ok(());
        }
        // A link leads to names of their own only where it leads away.
        let folder = if self.roots.iter().any(|root| real.starts_with(root)) { &real } else { folder };
        let dataset = dataset_files(folder)?;
        let is_output = is_output(folder);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            entries.push(entry.map_err(|e| Error::io(folder, e))?.path());
        }
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if self.is_own(&path) {
                self.skip_own(&path);
            } else if let Some(reason) = unseen(&name) {
                self.skip(&path, reason);
            } else if path.is_dir() {
                self.add_folder(&path)?;
            } else if is_special(&path) {
                self.skip(&path, SPECIAL);
            } else if let Some(dataset) = &dataset {
                if dataset.contains(&name) {
                    self.add_file(path);
                } else if !DATASET_FILES.contains(&name.as_str()) {
                    self.skip(&path, "not part of the dataset beside it (state.json)");
                }
            } else if DATASET_FILES.contains(&name.as_str()) {
                self.skip(&path, "metadata of a dataset");
            } else if is_output && OUTPUT_FILES.contains(&name.as_str()) {
                self.skip(&path, "metadata of an output of polyalign");
            } else if known_name(&name) {
                self.add_file(path);
            } else {
                self.skip(&path, &foreign::reason(&name));
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf) {
        if self.seen.insert(canonical(&path).unwrap_or_else(|_| path.clone())) {
            self.files.push(path);
        }
    }

    /// Leaves out links to files that are read under their own names.
    fn drop_links(&mut self) {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let (files, links): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.files).into_iter().partition(|path| real(path) == *path);
        let known: HashSet<&PathBuf> = files.iter().collect();
        let (twice, links): (Vec<_>, Vec<_>) =
            links.into_iter().partition(|link| known.contains(&real(link)));
        for link in twice {
            self.skip(&link, "a link to a file that is read under its own name");
        }
        self.files = files;
        self.files.extend(links);
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        self.skipped.push((path.to_path_buf(), reason.into()));
    }

    /// The folder that the output is made in is there only as long as the job runs.
    fn skip_own(&mut self, path: &Path) {
        if path.extension().is_none_or(|extension| extension != "partial") {
            self.skip(path, "this job's output");
        }
    }

    fn is_own(&self, path: &Path) -> bool {
        !self.own.is_empty()
            && fs::canonicalize(path).is_ok_and(|p| self.own.iter().any(|own| p.starts_with(own)))
    }
}

/// Names in a folder of `datasets`, or of the hub, that hold no rows.
const DATASET_FILES: [&str; 4] =
    ["state.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"];

/// Why a file or folder of this name is passed over, unless it is named: metadata, unfinished and hidden
/// files, as Spark, pyarrow and polars tell them.
fn unseen(name: &str) -> Option<&'static str> {
    match name {
        "_delta_log" => {
            Some("the log of a Delta table, which is not read: files that the table gave up are read too")
        }
        _ if name.starts_with('.') => Some("hidden"),
        _ if name.starts_with('_') => Some("its name begins with _, as that of metadata does"),
        _ if name.ends_with(".metadata.json") => Some("metadata of an Iceberg table"),
        _ => None,
    }
}

/// Why what a glob found is passed over: a wildcard stands for no `_` at the start of a name.
fn metadata_below(found: &Path, literal: &Path, pattern: &str) -> Option<&'static str> {
    let length = |path: &Path| path.components().filter(|part| *part != Component::CurDir).count();
    let part = |path: &Path| {
        let below = length(path).saturating_sub(length(literal));
        let mut names = path.components().rev().take(below).map(|part| part.as_os_str());
        names.find(|name| name.as_encoded_bytes().starts_with(b"_")).map(OsStr::to_os_string)
    };
    match part(Path::new(pattern)) {
        Some(_) => None,
        None => unseen(&part(found)?.to_string_lossy()),
    }
}

/// Why a pipe, a device or a socket is passed over where it is not named itself.
const SPECIAL: &str = "a pipe or a device, which is read only where it is named";

/// Whether there is something that is neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// So many ways through links to one folder are gone, at most.
const WAYS: u32 = 8;

/// What a pattern of names matches, in order. `**` stands for no folder within itself, however links lead there.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let wrong = |e: &dyn std::fmt::Display| Error::Input(format!("{pattern}: {e}"));
    if !pattern.contains("**") {
        let found = glob::glob_with(pattern, options).map_err(|e| wrong(&e))?;
        return found.map(|path| path.map_err(|e| wrong(&e))).collect();
    }
    let whole: PathBuf = Path::new(pattern).components().collect();
    let whole_text = whole.to_string_lossy();
    let matches = glob::Pattern::new(&whole_text).map_err(|e| wrong(&e))?;
    let options = glob::MatchOptions { require_literal_separator: true, ..options };
    let names_hidden = whole_text.contains(&format!("{MAIN_SEPARATOR}."));
    let goes_into = |name: &OsStr| !name.to_string_lossy().starts_with('.') || names_hidden;
    let (mut found, mut ways) = (Vec::new(), HashMap::<PathBuf, u32>::new());
    let mut folders = vec![(literal_start(&whole), Vec::new())];
    while let Some((folder, mut above)) = folders.pop() {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let real = fs::canonicalize(here).map_err(|e| Error::io(here, e))?;
        let way = ways.entry(real.clone()).or_default();
        *way += 1;
        if *way > WAYS || above.contains(&real) {
            continue;
        }
        above.push(real);
        let names = fs::read_dir(here).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<BTreeSet<_>>>()
        });
        for name in names.map_err(|e| Error::io(here, e))? {
            let path = folder.join(&name);
            if matches.matches_path_with(&path, options) {
                found.push(path.clone());
            }
            if goes_into(&name) && path.is_dir() {
                folders.push((path, above.clone()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The folders of a pattern before its first part that is no plain name.
fn literal_start(pattern: &Path) -> PathBuf {
    let plain = |c: &Component<'_>| !matches!(c, Component::Normal(name) if name.to_string_lossy().contains(['*', '?', '[']));
    pattern.components().take_while(plain).collect()
}

/// Names in an output of ours that hold no rows.
const OUTPUT_FILES: [&str; 2] = ["manifest.json", "rejects.jsonl"];

/// Whether a folder is an output of ours.
fn is_output(folder: &Path) -> bool {
    OUTPUT_FILES.iter().all(|name| folder.join(name).is_file()) && folder.join("data").is_dir()
}

/// The data files of a folder that `Dataset.save_to_disk` made; `None` for any other folder.
fn dataset_files(folder: &Path) -> Result<Option<HashSet<String>>> {
    let state = folder.join("state.json");
    if !state.is_file() || !folder.join("dataset_info.json").is_file() {
        return Ok(None);
    }
    let broken = |what: &dyn std::fmt::Display| Error::Input(format!("{}: {what}", state.display()));
    let text = fs::read(&state).map_err(|e| Error::io(&state, e))?;
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(|e| broken(&e))?;
    if json["_indices_files"].as_array().is_some_and(|files| !files.is_empty()) {
        return Err(broken(
            &"the dataset was saved with an indices mapping; save it again after flatten_indices()",
        ));
    }
    let files = json["_data_files"].as_array().ok_or_else(|| broken(&"lists no _data_files"))?;
    Ok(Some(files.iter().filter_map(|f| Some(f["filename"].as_str()?.to_owned())).collect()))
}

/// Whether a file in a folder is read, by its name.
fn known_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let packed = [".gz", ".zst", ".zstd"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(&name);
    [".jsonl", ".ndjson", ".json"].iter().any(|e| packed.ends_with(e))
        || [".parquet", ".arrow", ".arrows", ".feather", ".ipc"].iter().any(|e| name.ends_with(e))
}

/// The path with its folder resolved; a link keeps its own name.
fn canonical(path: &Path) -> Result<PathBuf> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).map_err(|e| Error::io(parent, e))?;
    Ok(parent.join(path.file_name().unwrap_or_default()))
}

fn common_root(roots: &[PathBuf]) -> PathBuf {
    let mut root = roots.first().cloned().unwrap_or_default();
    for other in roots {
        while !other.starts_with(&root) {
            root.pop();
        }
    }
    root
}

fn relative_name(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|c| printable(c.as_os_str())).collect();
    parts.join("/")
}

/// Looks at a file's start. `named`: it was not just found in a folder.
fn inspect(path: &Path, name: String, named: bool) -> Result<Input> {
    let failed = |e| Error::io(path, e);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        let stream = File::open(path).map_err(failed)?;
        return pipe(path, name, Box::new(stream));
    }
    let mut file = Handle::open(path).map_err(failed)?;
    let stamp = file.stamp().map_err(failed)?;
    let mut head = [0; 16];
    let n = read_full(&mut file, &mut head).map_err(failed)?;
    let (head, compression) = (&head[..n], Compression::of(&head[..n]));
    if named
        && binary_format(head).is_none()
        && let Some(foreign) = foreign::of(path, head)
    {
        return Err(foreign.error(&printable(path.as_os_str())));
    }
    let format = format(head, compression, path, || Source::peek(Vec::new(), Some(file), compression));
    let (path, keys) = (path.to_path_buf(), Vec::new());
    Ok(Input { path, name, stamp, compression, format, keys, pipe: None })
}

/// A table by its magic number.
fn binary_format(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PAR1") || head.starts_with(b"PARE") {
        Some(Format::Parquet)
    } else if head.starts_with(b"ARROW1") {
        Some(Format::ArrowFile)
    } else if head.starts_with(&[0xff, 0xff, 0xff, 0xff]) {
        Some(Format::ArrowStream)
    } else {
        None
    }
}

/// A table by its name: one whose content is not what its name says is reported, not read as text.
fn named_table(path: &Path, compression: Compression) -> Option<Format> {
    let extension = path.extension()?.to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        _ if compression != Compression::None => None,
        "parquet" => Some(Format::Parquet),
        "arrow" | "feather" | "ipc" => Some(Format::ArrowFile),
        "arrows" => Some(Format::ArrowStream),
        _ => None,
    }
}

/// JSONL or an array, by the first characters; by name where `[` could begin a broken line.
fn text_format(reader: &mut dyn Read, path: &Path) -> Format {
    let mut head = vec![0; TEXT_BYTES];
    // What can't be read is reported when the file is read.
    let n = read_full(&mut { reader }, &mut head).unwrap_or(0);
    let head = head[..n].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head[..n]);
    let mut bytes = head.iter().copied().filter(|b| !b.is_ascii_whitespace());
    if bytes.next() != Some(b'[') {
        return Format::Jsonl;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let says_lines = name.contains(".jsonl") || name.contains(".ndjson");
    match bytes.next() {
        Some(b'{' | b']') | None => Format::JsonArray,
        Some(_) if says_lines => Format::Jsonl,
        Some(_) => Format::JsonArray,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_no_underscore_at_the_start() {
        let passed_over = |found: &str, literal: &str, pattern: &str| {
            metadata_below(Path::new(found), Path::new(literal), pattern).is_some()
        };
        for (found, literal, pattern) in [
            ("x/_t/a.parquet", "./x", "./x/**/*"),
            ("./x/_a.parquet", "./x", "./x/*"),
            ("_a", "", "*"),
            ("/_x/y/_a", "/_x/y", "/_x/y/?a"),
        ] {
            assert!(passed_over(found, literal, pattern), "{pattern}");
        }
        for (found, literal, pattern) in [
            ("/_x/y/a_", "/_x/y", "/_x/y/*"),
            ("_a", "", "_*"),
            ("./_x/a", "./_x", "./_x/*"),
            ("_x/a", "./_x", "./_x/*"),
        ] {
            assert!(!passed_over(found, literal, pattern), "{pattern}");
        }
    }
}
