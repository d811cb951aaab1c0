//! Listing letters, a page at a time and in order of time.

use consume::dead_letter::{Head, attribute};
use consume::table::{Attributes, Table, Value};
use futures_util::{Stream, TryStreamExt, stream};
use jiff::civil::Date;

use super::error::Error;
use super::filter::Filter;
use super::read::whole_body;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    day: Date,
    after: Option<String>,
}

impl Cursor {
    /// The beginning of a filter's list.
    #[must_use]
    pub fn start(filter: &Filter) -> Self {
        Self { day: filter.days.first(), after: None }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The letters, in order of time; there may be none although the list goes on.
    pub letters: Vec<Head>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<Cursor>,
}

/// Reads a page of the letters that `filter` means: what one page of the table's query holds of them, 1 MB of items at
/// the most. Their bodies are let go; only one letter's is held beside the page, where [`Filter::like`] asks for it.
///
/// # Errors
/// The table could not be read.
pub async fn page(table: &impl Table, filter: &Filter, from: &Cursor) -> Result<Page, Error> {
    let (found, next) = heads(table, filter, from).await?;
    let mut letters = Vec::new();
    for (head, attributes) in found {
        if contains(table, &head, &attributes, filter.like.as_deref()).await? {
            letters.push(head);
        }
    }
    Ok(Page { letters, next })
}

/// Reads what one page of the table's query holds of the letters that `filter` means as far as their heads tell, each with
/// everything that is in its item; and where it goes on.
pub(super) async fn heads(
    table: &impl Table,
    filter: &Filter,
    from: &Cursor,
) -> Result<(Vec<(Head, Attributes)>, Option<Cursor>), Error> {
    let mut after = from.after.clone();
    for day in filter.days.iter_from(from.day) {
        let partition = format!("{}#{day}", filter.project);
        // Sort keys begin with the time and so with the day, and DynamoDB takes no empty prefix.
        let found = table.query(&partition, &day.to_string(), after.as_deref()).await;
        let found = found.map_err(|cause| Error::Unlisted { partition, cause })?;
        let Some((last, _)) = found.items.last() else {
            after = None;
            continue;
        };
        let next = Some(Cursor { day, after: Some(last.sk.clone()) });
        let heads = found.items.into_iter().filter_map(|(key, attributes)| {
            let head = Head::read(&key, &attributes).filter(|head| filter.takes(head))?;
            Some((head, attributes))
        });
        return Ok((heads.collect(), next));
    }
    Ok((Vec::new(), None))
}

/// All letters that `filter` means, in order of time; it ends with the first error. A page is read when the one before is
/// used up.
pub fn list<T: Table>(table: &T, filter: &Filter) -> impl Stream<Item = Result<Head, Error>> {
    stream::try_unfold(Some(Cursor::start(filter)), move |from| async move {
        let Some(from) = from else { return Ok::<_, Error>(None) };
        let page = page(table, filter, &from).await?;
        Ok(Some((stream::iter(page.letters.into_iter().map(Ok)), page.next)))
    })
    .try_flatten()
}

/// Whether the detail or the body of a letter contains `text`.
async fn contains(table: &impl Table, head: &Head, attributes: &Attributes, text: Option<&str>) -> Result<bool, Error> {
    let Some(text) = text else { return Ok(true) };
    let first = attributes.get(attribute::BODY).and_then(Value::text).unwrap_or_default();
    if head.detail.contains(text) || first.contains(text) {
        return Ok(true);
    }
    match whole_body(table, head, attributes).await {
        Ok(body) => Ok(body.contains(text)),
        // A letter that is not whole is no reason to hide the others.
        Err(Error::PartMissing { .. } | Error::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
