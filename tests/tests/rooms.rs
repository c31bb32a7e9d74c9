//! No two files of a library depend on each other, directly or through others.
//!
//! A file depends on another file if its code names an item that the other file defines. The rules:
//! - A re-export is followed to the file that defines the item. So a parent module that only declares its children and
//!   re-exports from them depends on none of them, and a file that names the re-export depends only on the child. A
//!   parent that also uses its re-exports depends on the child.
//! - A name in an attribute, in a comment or in test code (`#[cfg(test)]`) does not count.
//! - `use module::*` depends on the file of the module.
//! - Not detected: methods, which may be implemented outside their type's file, and the fields behind a value.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

const LIBRARIES: [&str; 2] = ["batchsuite-auth", "batchsuite-store"];

#[test]
fn no_two_files_of_a_library_need_each_other() {
    let mut cycles = Vec::new();
    for library in LIBRARIES {
        let needs = Library::read(|file| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(library).join("src").join(file);
            fs::read_to_string(path).ok()
        })
        .needs();
        assert!(needs.0.len() > 10, "{library}: only {} files were read", needs.0.len());
        cycles.extend(needs.cycles().into_iter().map(|cycle| format!("{library}: {cycle}")));
    }
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

/// The dependencies of each file, with the first name that shows each.
#[derive(Default)]
struct Needs(BTreeMap<String, BTreeMap<String, String>>);

impl Needs {
    /// All cycles, shortest first. After each one, its first dependency is removed.
    fn cycles(mut self) -> Vec<String> {
        let mut cycles = Vec::new();
        while let Some(cycle) = self.shortest_cycle() {
            cycles.push(self.described(&cycle));
            self.0.get_mut(&cycle[0]).and_then(|others| others.remove(&cycle[1]));
        }
        cycles
    }

    /// The shortest path of dependencies, both ends included.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut came_from = BTreeMap::from([(from, None)]);
        let mut next = VecDeque::from([from]);
        while let Some(file) = next.pop_front() {
            if file == to {
                let mut way: Vec<&str> = std::iter::successors(Some(file), |file| came_from[file]).collect();
                way.reverse();
                return Some(way);
            }
            for other in self.0.get(file).into_iter().flat_map(BTreeMap::keys) {
                came_from.entry(other).or_insert_with(|| {
                    next.push_back(other);
                    Some(file)
                });
            }
        }
        None
    }

    /// The shortest cycle. The list begins and ends with the same file.
    fn shortest_cycle(&self) -> Option<Vec<String>> {
        let steps = self.0.iter().flat_map(|(file, others)| others.keys().map(move |other| (file, other)));
        let cycles = steps.filter_map(|(file, other)| Some([vec![file.as_str()], self.way(other, file)?].concat()));
        let shortest = cycles.min_by_key(Vec::len)?;
        Some(shortest.into_iter().map(str::to_owned).collect())
    }

    fn described(&self, cycle: &[String]) -> String {
        let steps = cycle.windows(2).map(|step| format!(" -> {} (for {})", step[1], self.0[&step[0]][&step[1]]));
        format!("a cycle: {}{}", cycle[0], steps.collect::<String>())
    }
}

/// The modules of a library. The first is the root.
#[derive(Default)]
struct Library {
    modules: Vec<Module>,
}

/// The names in a module that can lead out of it.
struct Module {
    file: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    imports: Vec<Import>,
    /// The paths of two or more names in its code.
    paths: BTreeSet<Vec<String>>,
    /// The single names in its code.
    names: BTreeSet<String>,
}

/// One name in a `use`.
struct Import {
    path: Vec<String>,
    /// The name in this module. `*`: all names.
    name: String,
    is_reexport: bool,
}

/// The target of a path.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    /// An item that this module defines.
    Item(usize),
    /// An item of another library or of the current function.
    Elsewhere,
}

impl Library {
    /// Reads `lib.rs` and the files of its modules; `source` returns their text.
    fn read(source: impl Fn(&str) -> Option<String>) -> Self {
        let mut library = Self::default();
        library.read_file("lib.rs", 0, &source);
        library
    }

    fn read_file(&mut self, file: &str, parent: usize, source: &impl Fn(&str) -> Option<String>) -> usize {
        let text = source(file).unwrap_or_else(|| panic!("{file} cannot be read"));
        let code: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = self.add(file, parent);
        self.read_code(module, code, source);
        module
    }

    fn add(&mut self, file: &str, parent: usize) -> usize {
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            imports: Vec::new(),
            paths: BTreeSet::new(),
            names: BTreeSet::new(),
        });
        self.modules.len() - 1
    }

    /// Reads the items of a module, or the tokens inside one of them.
    fn read_code(&mut self, module: usize, code: TokenStream, source: &impl Fn(&str) -> Option<String>) {
        let code: Vec<TokenTree> = code.into_iter().collect();
        let mut at = 0;
        while at < code.len() {
            at = match &code[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => after_attribute(&code, at),
                TokenTree::Ident(word) if word == "use" && !is_punct(&code, at + 1, '<') => {
                    let end = (at..code.len()).find(|end| is_punct(&code, *end, ';')).unwrap_or(code.len());
                    let is_reexport = is_public(&code[..at]);
                    for (path, name) in leaves(&code[at + 1..end]) {
                        self.modules[module].imports.push(Import { path, name, is_reexport });
                    }
                    end
                }
                TokenTree::Ident(word) if word == "mod" => self.read_module(module, &code, at, source),
                TokenTree::Ident(_) => {
                    let path = path_at(&code, at);
                    let end = at + 3 * path.len() - 2;
                    self.modules[module].names.insert(path[0].clone());
                    if path.len() > 1 {
                        self.modules[module].paths.insert(path);
                    }
                    end
                }
                TokenTree::Group(group) => {
                    self.read_code(module, group.stream(), source);
                    at + 1
                }
                // A method or a field.
                TokenTree::Punct(punct) if punct.as_char() == '.' && ident(&code, at + 1).is_some() => at + 2,
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            }
        }
    }

    /// Reads the `mod` at `at` and returns the position after its name.
    fn read_module(
        &mut self,
        parent: usize,
        code: &[TokenTree],
        at: usize,
        source: &impl Fn(&str) -> Option<String>,
    ) -> usize {
        let Some(name) = ident(code, at + 1) else { return at + 1 };
        let file = self.modules[parent].file.clone();
        let child = match code.get(at + 2) {
            Some(TokenTree::Group(inline)) => {
                let child = self.add(&file, parent);
                self.read_code(child, inline.stream(), source);
                child
            }
            _ => {
                let folder = match file.rsplit_once('/').unwrap_or(("", &file)) {
                    (folder, "lib.rs" | "mod.rs") => folder,
                    _ => file.trim_end_matches(".rs"),
                };
                let path = format!("{folder}/{name}");
                let path = path.trim_start_matches('/');
                let files = [format!("{path}.rs"), format!("{path}/mod.rs")];
                let found = files.iter().find(|file| source(file).is_some());
                let found = found.unwrap_or_else(|| panic!("{file}: its module {name} has no file"));
                self.read_file(found, parent, source)
            }
        };
        self.modules[parent].children.insert(name, child);
        at + 3
    }

    fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for (index, module) in self.modules.iter().enumerate() {
            let others = needs.0.entry(module.file.clone()).or_default();
            let mut add = |target, path: &[String]| {
                if let Target::Item(other) = target
                    && self.modules[other].file != module.file
                {
                    others.entry(self.modules[other].file.clone()).or_insert_with(|| path.join("::"));
                }
            };
            for import in &module.imports {
                let target = self.target(index, &import.path, 0);
                match target {
                    Target::Module(all) if import.name == "*" => add(Target::Item(all), &import.path),
                    _ if import.is_reexport && !module.names.contains(&import.name) => {}
                    _ => add(target, &import.path),
                }
            }
            for path in &module.paths {
                add(self.target(index, path, 0), path);
            }
        }
        needs
    }

    fn target(&self, from: usize, path: &[String], depth: usize) -> Target {
        let (mut here, rest) = match path[0].as_str() {
            "crate" => (0, &path[1..]),
            "self" => (from, &path[1..]),
            _ => (from, path),
        };
        for (index, name) in rest.iter().enumerate() {
            here = match self.named(here, name, depth) {
                _ if name == "super" => self.modules[here].parent,
                Some(Target::Module(module)) => module,
                Some(other) => return other,
                // The name of another library, or an item of this very module.
                None if index == 0 && rest.len() == path.len() => return Target::Elsewhere,
                None => return Target::Item(here),
            };
        }
        Target::Module(here)
    }

    /// The target of `name` in a module, if the module has the name from a child or an import.
    fn named(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let Module { children, imports, .. } = &self.modules[module];
        if let Some(child) = children.get(name) {
            return Some(Target::Module(*child));
        }
        let import = imports.iter().find(|import| import.name == name)?;
        // `use http::{self, …}` names another library.
        if import.path[0] == name || depth > 20 {
            return Some(Target::Elsewhere);
        }
        Some(self.target(module, &import.path, depth + 1))
    }
}

/// The position after the attribute at `at`, and after its item if the item is only for tests.
fn after_attribute(code: &[TokenTree], at: usize) -> usize {
    let at = if is_punct(code, at + 1, '!') { at + 2 } else { at + 1 };
    let Some(TokenTree::Group(attribute)) = code.get(at) else { return at };
    if !is_for_tests(attribute) {
        return at + 1;
    }
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    code[at + 1..].iter().position(is_end).map_or(code.len(), |length| at + length + 2)
}

/// `cfg(test)`, or `cfg(all(test, …))`.
fn is_for_tests(attribute: &Group) -> bool {
    let words: String = attribute.stream().to_string().split_whitespace().collect();
    words == "cfg(test)" || words.starts_with("cfg(all(test,")
}

/// Whether the tokens end with `pub` or `pub(…)`.
fn is_public(before: &[TokenTree]) -> bool {
    let before = match before {
        [before @ .., TokenTree::Group(_)] => before,
        _ => before,
    };
    matches!(before, [.., TokenTree::Ident(word)] if word == "pub")
}

/// The names of a `use`, each with its full path.
fn leaves(tree: &[TokenTree]) -> Vec<(Vec<String>, String)> {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut leaves = Vec::new();
    for branch in tree.split(is_comma) {
        let mut path = Vec::new();
        let mut name = None;
        let mut is_renamed = false;
        for token in branch {
            match token {
                TokenTree::Ident(word) if word == "as" => is_renamed = true,
                TokenTree::Ident(word) if is_renamed => name = Some(word.to_string()),
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => name = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for (rest, name) in self::leaves(&inner) {
                        // `a::{self}` is `a`.
                        let rest = if rest == ["self"] { &[] } else { &rest[..] };
                        let whole = [&path[..], rest].concat();
                        let name = if name == "self" { whole[whole.len() - 1].clone() } else { name };
                        leaves.push((whole, name));
                    }
                    path.clear();
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let Some(last) = path.last() {
            let name = name.unwrap_or_else(|| last.clone());
            leaves.push((path, name));
        }
    }
    leaves
}

/// The path at `at`: names with `::` between them.
fn path_at(code: &[TokenTree], at: usize) -> Vec<String> {
    let mut path = Vec::new();
    while let Some(name) = ident(code, at + 3 * path.len()) {
        path.push(name);
        let behind = at + 3 * path.len() - 2;
        if !is_punct(code, behind, ':') || !is_punct(code, behind + 1, ':') {
            break;
        }
    }
    path
}

fn ident(code: &[TokenTree], at: usize) -> Option<String> {
    if let TokenTree::Ident(word) = code.get(at)? { Some(word.to_string()) } else { None }
}

fn is_punct(code: &[TokenTree], at: usize, character: char) -> bool {
    matches!(code.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// A library with these files.
fn library(files: &[(&str, &str)]) -> Library {
    Library::read(|file| files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned()))
}

#[test]
fn files_that_need_each_other_are_found_however_they_name_it() {
    for (a, b) in [
        ("use super::b::B; pub struct A(B);", "use crate::a::A; pub struct B(A);"),
        ("use super::{b::{B as Other}, c::C}; pub struct A(Other, C);", "use super::A; pub struct B(A);"),
        ("pub struct A(super::b::B);", "use super::a; pub struct B(a::A);"),
        ("pub fn a() -> u8 { use crate::b::*; B }", "pub const B: u8 = super::a::a();"),
        ("pub fn a() { println!(\"{}\", crate::b::B) }", "pub const B: usize = size_of::<crate::A>();"),
    ] {
        let files = [("lib.rs", "pub mod a; mod b; mod c; pub use a::A;"), ("a.rs", a), ("b.rs", b), ("c.rs", "")];
        let cycles = library(&files).needs().cycles();
        assert_eq!(cycles.len(), 1, "{a} {b}: {cycles:?}");
        assert!(cycles[0].starts_with("a cycle: a.rs -> b.rs (for ") && cycles[0].contains(" -> a.rs (for "));
    }
}

#[test]
fn a_parent_needs_the_child_only_if_it_uses_what_it_re_exports() {
    let child = ("a/c.rs", "use super::A; pub struct C(A);");
    let of = |parent: &'static str| library(&[("lib.rs", "mod a;"), ("a.rs", parent), child]).needs();

    assert!(of("mod c; pub use self::c::C; pub struct A;").cycles().is_empty());
    let cycles = of("mod c; pub use self::c::C; pub struct A(Box<C>);").cycles();
    assert_eq!(cycles, ["a cycle: a.rs -> a/c.rs (for self::c::C) -> a.rs (for super::A)"]);
}

#[test]
fn tests_comments_and_attributes_do_not_count() {
    let a = "#[cfg(test)] mod tests { use super::super::b::B; } #[cfg(test)] use super::b::B; \
             /// [`B`](super::b::B)\n#[doc = \"crate::b::B\"] pub struct A; // crate::b::B\n";
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "pub struct B(super::a::A);")];

    assert!(library(&files).needs().cycles().is_empty());
}
