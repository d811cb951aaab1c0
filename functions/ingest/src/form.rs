//! Pairs of name and value, as forms and query strings carry them → the text of one JSON object.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use shared::json::string_text;
use shared::limits::NESTING_DEPTH_MAX;

use crate::response::Problem;

/// The most pairs in one form or query. An event has at most 10,000 properties with Segment (HTTP API documentation).
pub const PAIRS_MAX: usize = 10_000;
/// The most steps that the names of a form or query take together (`data[a]` is two). A step may need a map of its own,
/// which takes about 700 bytes, so that these are at most 21 MB, where deep names alone could make a hundred times their
/// own size of a body.
pub const STEPS_MAX: usize = 3 * PAIRS_MAX;

/// How names say what is inside what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notation {
    /// `data[plan]=pro`, `add[]=vip`, as Rails and PHP read them: the forms of Vero's clients. Some of these clients
    /// write a whole value as JSON instead, which `identity`, `data`, `extras`, `changes`, `add`, `remove` and
    /// `channels` may be.
    Brackets,
    /// `properties.plan=pro`: the queries of Segment's pixels.
    Dots,
}

/// The members of Vero's calls whose text may be JSON.
const EMBEDDED: [&str; 7] = ["identity", "data", "extras", "changes", "add", "remove", "channels"];
/// Those that are lists, so that `add[0]=a&add[1]=b`, as PHP and many libraries of JavaScript write it, is one too.
const LISTS: [&str; 3] = ["add", "remove", "channels"];

/// A value in the making.
enum Node {
    Text(String),
    List(Vec<Node>),
    Object(BTreeMap<String, Node>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Text(String::new())
    }
}

/// One step from a value to one inside it.
enum Step<'a> {
    Member(&'a str),
    Append,
}

/// Makes a JSON object of pairs; `None` if there are none. Of two values for one place the last counts. Values stay
/// texts.
///
/// # Errors
/// More than [`PAIRS_MAX`] pairs or [`STEPS_MAX`] steps, or a name that goes deeper than [`NESTING_DEPTH_MAX`].
pub fn object<N: AsRef<str>, V: Into<String>>(
    pairs: impl IntoIterator<Item = (N, V)>,
    notation: Notation,
) -> Result<Option<String>, Problem> {
    let mut root = Node::Object(BTreeMap::new());
    let (mut count, mut steps_count) = (0, 0);
    for (name, value) in pairs {
        count += 1;
        if count > PAIRS_MAX {
            return Err(Problem::Malformed(format!("more than {PAIRS_MAX} parameters")));
        }
        let steps = steps(name.as_ref(), notation);
        if steps.len() > NESTING_DEPTH_MAX {
            return Err(Problem::NestedTooDeeply);
        }
        steps_count += steps.len();
        if steps_count > STEPS_MAX {
            return Err(Problem::Malformed(format!("names of more than {STEPS_MAX} steps in its parameters")));
        }
        put(&mut root, &steps, value.into());
    }
    let mut text = String::new();
    write(&root, notation == Notation::Brackets, &mut text);
    Ok((count > 0).then_some(text))
}

/// Reads a name. One that does not keep to its notation means just itself.
fn steps(name: &str, notation: Notation) -> Vec<Step<'_>> {
    let whole = || vec![Step::Member(name)];
    match notation {
        Notation::Dots if name.split('.').any(str::is_empty) => whole(),
        Notation::Dots => name.split('.').map(Step::Member).collect(),
        Notation::Brackets => {
            let Some((first, inner)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
                return whole();
            };
            let inner: Vec<&str> = inner.split("][").collect();
            if first.is_empty() || inner.iter().any(|step| step.contains(['[', ']'])) {
                return whole();
            }
            let step = |step| if str::is_empty(step) { Step::Append } else { Step::Member(step) };
            std::iter::once(Step::Member(first)).chain(inner.into_iter().map(step)).collect()
        }
    }
}

/// Puts a value where the steps lead, in the place of whatever stands in the way. Recursion is bounded by the steps.
fn put(node: &mut Node, steps: &[Step<'_>], value: String) {
    match steps {
        [] => *node = Node::Text(value),
        [Step::Member(name), rest @ ..] => {
            let mut members = match std::mem::take(node) {
                Node::Object(members) => members,
                Node::Text(_) | Node::List(_) => BTreeMap::new(),
            };
            put(members.entry((*name).to_owned()).or_default(), rest, value);
            *node = Node::Object(members);
        }
        [Step::Append, rest @ ..] => {
            let mut elements = match std::mem::take(node) {
                Node::List(elements) => elements,
                Node::Text(_) | Node::Object(_) => vec![],
            };
            match (elements.last_mut(), rest.first()) {
                // As Rails has it: `a[][x]=1&a[][y]=2&a[][x]=3` is two elements, the first with both members.
                (Some(last @ Node::Object(_)), Some(Step::Member(name))) if !last.has(name) => put(last, rest, value),
                _ => {
                    let mut element = Node::default();
                    put(&mut element, rest, value);
                    elements.push(element);
                }
            }
            *node = Node::List(elements);
        }
    }
}

impl Node {
    fn has(&self, name: &str) -> bool {
        matches!(self, Node::Object(members) if members.contains_key(name))
    }

    /// The elements in their order, if every member is named by its position.
    fn as_list(&self) -> Option<Vec<&Node>> {
        let Node::Object(members) = self else { return None };
        let position = |(name, node): (&String, _)| Some((name.parse::<u32>().ok()?, node));
        let mut elements = members.iter().map(position).collect::<Option<Vec<(u32, &Node)>>>()?;
        elements.sort_by_key(|(position, _)| *position);
        Some(elements.into_iter().map(|(_, node)| node).collect())
    }
}

/// Writes a value as JSON; `vero` where it is the parameters of a call of Vero's.
fn write(node: &Node, vero: bool, out: &mut String) {
    match node {
        Node::Text(text) => out.push_str(&string_text(text)),
        Node::List(elements) => write_list(&elements.iter().collect::<Vec<_>>(), out),
        Node::Object(members) => {
            out.push('{');
            for (position, (name, member)) in members.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                out.push_str(&string_text(name));
                out.push(':');
                let list = member.as_list().filter(|_| vero && LISTS.contains(&name.as_str()));
                match (member, list) {
                    (_, Some(elements)) => write_list(&elements, out),
                    (Node::Text(text), None) if vero && EMBEDDED.contains(&name.as_str()) => {
                        out.push_str(&embedded(text));
                    }
                    _ => write(member, false, out),
                }
            }
            out.push('}');
        }
    }
}

fn write_list(elements: &[&Node], out: &mut String) {
    out.push('[');
    for (position, element) in elements.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write(element, false, out);
    }
    out.push(']');
}

/// The JSON that a text is, or else the text as a JSON string. A form has no other way to say `null` than nothing.
fn embedded(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "null".to_owned();
    }
    let is_json = text.starts_with(['{', '[']) || text == "null";
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if is_json => value.get().to_owned(),
        _ => string_text(text),
    }
}

#[cfg(test)]
mod tests;
