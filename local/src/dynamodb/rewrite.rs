//! Batches that are done in part: what is passed on of a request, and what is added to its answer.

use serde_json::{Map, Value};

use super::faults::Fault;
use super::refusal::Refusal;

/// A batch, divided.
pub(super) enum Split {
    /// This request is passed on in place of the whole, and [`Rest`] completes its answer.
    Part(Value, Rest),
    /// Nothing is passed on, and this is the answer.
    Nothing(Value),
    /// The whole call is refused.
    Refused(Refusal),
}

/// What was not passed on.
pub(super) enum Rest {
    /// Statements that are answered here.
    Statements {
        /// Whether each statement of the request is refused.
        refused: Vec<bool>,
        /// The error of those that are.
        refusal: Refusal,
    },
    /// Items that the answer returns.
    Unprocessed {
        /// The answer's member for them.
        member: &'static str,
        /// By table, in the request's form.
        items: Map<String, Value>,
    },
}

/// Divides a request. `None` means that the fault changes nothing: the request is not of the form that the API asks
/// for, which the engine answers best, or nothing of it is left out.
pub(super) fn split(fault: &Fault, operation: &str, request: Value) -> Option<Split> {
    match fault {
        Fault::RefuseStatements { indexes, refusal } => split_statements(request, indexes, *refusal),
        Fault::LeaveUnprocessed { taken_max: 0 } => Some(Split::Refused(Refusal::ProvisionedThroughputExceeded)),
        Fault::LeaveUnprocessed { taken_max } if operation == "BatchGetItem" => {
            split_items(request, *taken_max, "UnprocessedKeys", |table| table.get_mut("Keys")?.as_array_mut())
        }
        Fault::LeaveUnprocessed { taken_max } => {
            split_items(request, *taken_max, "UnprocessedItems", Value::as_array_mut)
        }
        Fault::Refuse(_) | Fault::DropReply | Fault::Delay(_) => None,
    }
}

fn split_statements(mut request: Value, indexes: &[usize], refusal: Refusal) -> Option<Split> {
    let statements = request.get_mut("Statements")?.as_array_mut()?;
    let refused: Vec<bool> = (0..statements.len()).map(|index| indexes.contains(&index)).collect();
    let mut index = 0;
    statements.retain(|_| {
        index += 1;
        !refused[index - 1]
    });
    let (left, total) = (statements.len(), refused.len());
    if left == total {
        return None;
    }
    let rest = Rest::Statements { refused, refusal };
    if left == 0 {
        return Some(Split::Nothing(rest.complete(Value::Object(Map::new()))));
    }
    Some(Split::Part(request, rest))
}

fn split_items(
    mut request: Value,
    taken_max: usize,
    member: &'static str,
    items_of: impl Fn(&mut Value) -> Option<&mut Vec<Value>>,
) -> Option<Split> {
    let tables = request.get_mut("RequestItems")?.as_object_mut()?;
    let mut names: Vec<String> = tables.keys().cloned().collect();
    names.sort_unstable();
    let (mut room, mut left) = (taken_max, Map::new());
    for name in names {
        let table = tables.get_mut(&name)?;
        // A table's leftover keeps the table's other members (a projection, for one).
        let mut leftover = table.clone();
        let items = items_of(table)?;
        let taken = items.len().min(room);
        room -= taken;
        if taken == items.len() {
            continue;
        }
        items.truncate(taken);
        items_of(&mut leftover)?.drain(..taken);
        left.insert(name.clone(), leftover);
        if taken == 0 {
            tables.remove(&name);
        }
    }
    if left.is_empty() { None } else { Some(Split::Part(request, Rest::Unprocessed { member, items: left })) }
}

impl Rest {
    /// The answer to the whole request, made of the answer to the part.
    pub(super) fn complete(self, mut answer: Value) -> Value {
        match self {
            Self::Statements { refused, refusal } => {
                let done = answer.get_mut("Responses").and_then(Value::as_array_mut).map(std::mem::take);
                let mut done = done.unwrap_or_default().into_iter();
                let responses = refused.into_iter().map(|refused| {
                    // The engine answers each statement; an empty answer is how DynamoDB reports one that returns nothing.
                    if refused {
                        refusal.statement_response()
                    } else {
                        done.next().unwrap_or(Value::Object(Map::new()))
                    }
                });
                answer["Responses"] = responses.collect();
            }
            Self::Unprocessed { member, items } => answer[member] = Value::Object(items),
        }
        answer
    }
}
