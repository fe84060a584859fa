//! The modules of a crate depend on each other without a cycle.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemMod, ItemUse, Macro, Path, UseTree, VisRestricted, Visibility};

use super::tree::files;

/// The names of a module from the crate's root, such as `["token", "cache"]`.
type ModulePath = Vec<String>;

#[test]
fn modules_form_no_cycle() {
    let mut crates: BTreeMap<String, Vec<(ModulePath, File)>> = BTreeMap::new();
    for (name, text) in files(".rs") {
        let Some((package, file)) = name.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/"))
        else {
            continue;
        };
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        crates.entry(package.to_owned()).or_default().push((module_path(file), parsed));
    }
    let cycles: Vec<_> = crates
        .into_iter()
        .flat_map(|(package, files)| {
            cycles(files).into_iter().map(move |modules| format!("{package}: {}", modules.join(", ")))
        })
        .collect();
    assert!(cycles.is_empty(), "these modules use each other:\n{}", cycles.join("\n"));
}

#[test]
fn a_cycle_is_found() {
    let parse = |path: &str, text: &str| (module_path(path), syn::parse_file(text).unwrap());
    let root = || parse("lib.rs", "mod a; mod b; mod c;");
    let found = |a: &str, b: &str, c: &str| {
        cycles(vec![root(), parse("a.rs", a), parse("b.rs", b), parse("c.rs", c)])
    };
    let ring = vec![vec!["a".to_owned(), "b".to_owned()]];
    assert_eq!(found("use crate::b::B; struct A(B);", "struct B; fn f() { crate::a::A::g(); }", ""), ring);
    // A re-export is not a use, but leads to the module that has the item.
    assert_eq!(
        found("use crate::c::B; struct A(B);", "struct B(super::a::A);", "pub use crate::b::B;"),
        ring
    );
    assert_eq!(
        found("use crate::c; struct A(c::B);", "struct B(crate::c::A);", "pub use crate::{a::A, b::*};"),
        ring
    );
    assert_eq!(
        found("struct A; fn f() { write!(x, y, crate::b::B) }", "use crate::a::A; struct B(A);", ""),
        ring
    );
    let none: Vec<Vec<String>> = Vec::new();
    assert_eq!(found("use crate::b::B; struct A(B);", "struct B;", "pub use crate::a::A;"), none);
    assert_eq!(found("use crate::b::B;", "struct B; #[cfg(test)] mod tests { use crate::a::A; }", ""), none);
}

/// The module of a file below `src`.
fn module_path(file: &str) -> ModulePath {
    let names = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    if names == ["lib"] || names == ["main"] { Vec::new() } else { names }
}

/// The groups of modules of one crate that use each other.
fn cycles(files: Vec<(ModulePath, File)>) -> Vec<Vec<String>> {
    let modules: BTreeMap<ModulePath, Module> =
        files.into_iter().map(|(path, file)| (path, Module::read(&file))).collect();
    let names: Vec<_> = modules.keys().collect();
    let mut graph = DiGraphMap::<usize, ()>::new();
    for (from, (path, module)) in modules.iter().enumerate() {
        let imports = module.imports.iter().filter(|import| !import.is_reexport).map(|import| &import.path);
        for used in imports.chain(&module.paths) {
            let target = find(&modules, path, used, 0);
            if let Some(to) = target.and_then(|target| names.iter().position(|name| **name == target))
                && to != from
            {
                graph.add_edge(from, to, ());
            }
        }
    }
    let rings = tarjan_scc(&graph).into_iter().filter(|ring| ring.len() > 1);
    let mut rings: Vec<Vec<String>> = rings
        .map(|ring| ring.into_iter().filter_map(|at| Some(names.get(at)?.join("::"))).collect())
        .collect();
    rings.iter_mut().for_each(|ring| ring.sort());
    rings.sort();
    rings
}

/// The module that defines the item at `path`, as seen from `module`. None for other crates and for modules.
fn find(
    modules: &BTreeMap<ModulePath, Module>,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<ModulePath> {
    // Re-exports that lead to each other do not compile, so this bound is not reached.
    if depth > 20 {
        return None;
    }
    let (first, rest) = path.split_first()?;
    let find = |module: &[String], path: &[String]| find(modules, module, path, depth + 1);
    let child = [module, std::slice::from_ref(first)].concat();
    match first.as_str() {
        "crate" => return find(&[], rest),
        "self" => return find(module, rest),
        "super" => return find(module.split_last()?.1, rest),
        _ if modules.contains_key(&child) => return find(&child, rest),
        _ => {}
    }
    let Module { imports, items, .. } = modules.get(module)?;
    if let Some(import) = imports.iter().find(|import| import.name == *first) {
        return find(module, &[import.path.as_slice(), rest].concat());
    }
    if items.contains(first) {
        return Some(module.to_vec());
    }
    let globs = imports.iter().filter(|import| import.name == "*");
    globs.into_iter().find_map(|import| find(module, &[import.path.as_slice(), path].concat()))
}

/// What a file imports, defines and uses, without its tests.
#[derive(Default)]
struct Module {
    imports: Vec<Import>,
    items: BTreeSet<String>,
    paths: Vec<Vec<String>>,
}

struct Import {
    /// The name in this module, or `*`.
    name: String,
    path: Vec<String>,
    is_reexport: bool,
}

impl Module {
    fn read(file: &File) -> Self {
        let mut module = Self::default();
        module.visit_file(file);
        module
    }

    fn add_imports(&mut self, tree: &UseTree, mut path: Vec<String>, is_reexport: bool) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_imports(&part.tree, path, is_reexport);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_imports(tree, path.clone(), is_reexport));
            }
            UseTree::Glob(_) => self.imports.push(Import { name: "*".to_owned(), path, is_reexport }),
            UseTree::Name(import) => self.add_import(path, import.ident.to_string(), None, is_reexport),
            UseTree::Rename(import) => {
                self.add_import(path, import.ident.to_string(), Some(import.rename.to_string()), is_reexport);
            }
        }
    }

    fn add_import(&mut self, mut path: Vec<String>, item: String, rename: Option<String>, is_reexport: bool) {
        // `use a::{self}` imports `a`.
        if item != "self" || path.is_empty() {
            path.push(item);
        }
        let name = rename.or_else(|| path.last().cloned()).unwrap_or_default();
        self.imports.push(Import { name, path, is_reexport });
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test(&item.attrs) {
            self.add_imports(&item.tree, Vec::new(), !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// The arguments of a macro are tokens: paths that begin with `crate` or `super` are found there, outside of texts.
    fn visit_macro(&mut self, invocation: &'ast Macro) {
        let text = invocation.tokens.to_string().replace(" :: ", "::").replace("\\\"", "");
        let code = text.split('"').step_by(2);
        let words =
            code.flat_map(|code| code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')));
        let paths = words.filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
        self.paths.extend(paths.map(|path| path.split("::").map(str::to_owned).collect::<Vec<_>>()));
        visit::visit_macro(self, invocation);
    }

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}
