//! The memory that the template gives each function, and what the functions compute that they take.

use std::collections::BTreeMap;

use local::template::{Settings, Template};

const MIB: usize = 1_048_576;
/// The parameters that the bound of `ingest` depends on.
const SIZES: [&str; 2] = ["RequestBytesMax", "EventBytesMax"];

/// A property of one of the template's parameters.
fn parameter(name: &str, property: &str) -> usize {
    let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(local::TEMPLATE).unwrap();
    usize::try_from(document["Parameters"][name][property].as_u64().unwrap()).unwrap()
}

fn sizes(property: &str) -> [usize; 2] {
    SIZES.map(|name| parameter(name, property))
}

/// Reads the configuration of a function as the template would have it with these sizes.
fn start(binary: &str, sizes: [usize; 2]) -> Result<(), String> {
    let parameters: BTreeMap<String, String> =
        SIZES.iter().zip(sizes).map(|(name, size)| ((*name).to_owned(), size.to_string())).collect();
    let template = Template::parse_with(local::TEMPLATE, &Settings { parameters, ..Settings::default() }).unwrap();
    let function = template.functions.iter().find(|function| function.binary == binary).unwrap();
    let lookup = |name: &str| match name {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some(function.memory_mb.to_string()),
        name => function.environment.get(name).cloned(),
    };
    let read = match binary {
        "ingest" => ingest::config::Config::from_lookup(&lookup).map(drop),
        "receipts" => receipts::config::Config::from_lookup(&lookup).map(drop),
        _ => consume::config::Config::from_lookup(&lookup).map(drop),
    };
    read.map_err(|error| error.to_string())
}

#[test]
fn the_functions_of_the_template_have_room_for_what_they_accept() {
    for sizes in [sizes("Default"), sizes("MaxValue")] {
        for binary in ["ingest", "consume", "receipts"] {
            assert_eq!(start(binary, sizes), Ok(()), "{binary} with {sizes:?}");
        }
    }
}

/// Tenths of a MiB, rounded up.
fn tenths(bytes: usize) -> String {
    let tenths = (10 * bytes).div_ceil(MIB);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[test]
fn the_table_in_the_documentation_is_what_the_functions_compute() {
    let [least, most] = [sizes("Default"), sizes("MaxValue")];
    let mut lines = Vec::new();
    let (of_ingest, of_receipts) = (
        |[request, event]: [usize; 2]| ingest::memory::terms(request, event).to_vec(),
        |[request, event]: [usize; 2]| receipts::memory::terms(request, event).to_vec(),
    );
    for (name, least, most) in
        [("ingest", of_ingest(least), of_ingest(most)), ("receipts", of_receipts(least), of_receipts(most))]
    {
        lines.push(format!("| `{name}` | MiB by default | MiB at the most |"));
        lines.push("|---|---:|---:|".to_owned());
        for (least, most) in least.iter().zip(&most) {
            lines.push(format!("| {} | {} | {} |", least.what, tenths(least.bytes), tenths(most.bytes)));
        }
        let sum = |terms: &[ingest::memory::Term]| tenths(terms.iter().map(|term| term.bytes).sum());
        lines.push(format!("| **together** | {} | {} |", sum(&least), sum(&most)));
        lines.push(String::new());
    }
    lines.extend(["| `consume` | MiB |".to_owned(), "|---|---:|".to_owned()]);
    lines.extend(consume::memory::terms().iter().map(|term| format!("| {} | {} |", term.what, tenths(term.bytes))));
    lines.push(format!("| **together** | {} |", tenths(consume::memory::bound())));
    let table = lines.join("\n");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    assert!(page.contains(&table), "docs/ARCHITECTURE.md should have this table:\n{table}");
}
