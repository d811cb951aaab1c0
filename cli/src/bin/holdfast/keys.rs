//! `holdfast keys` and `holdfast projects`.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cli::keys::{
    Error, Home, ID_CHARS, KeyEntry, NewKey, create, find, import, list, parse, random_key, register, set_disabled,
};
use consume::table::{Key, Value as Attribute, get_all};
use serde_json::json;
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_hash, write_key_partition};

use crate::Answer;
use crate::args::{HomeArg, KeysCommand, WhichKey};
use crate::output::Output;
use crate::progress::{bar, interrupted};
use crate::text::{FAINT, STRONG, count, harmless, styled};
use crate::world::World;

/// The largest file of keys in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest secret of a webhook in bytes.
const SECRET_BYTES_MAX: usize = 1_024;

pub(crate) async fn keys(world: &World, output: &mut Output, command: KeysCommand) -> anyhow::Result<Answer> {
    match command {
        KeysCommand::Create { project, source, webhook_secret, home } => {
            let secret = webhook_secret.as_deref().map(secret).transpose()?;
            let home = match home {
                HomeArg::User => Home::User,
                HomeArg::Device => Home::Device,
            };
            let new = NewKey { key: random_key(), project, source, secret, home };
            create(&world.events(), &new, world.now()).await?;
            show_new(output, &new)?;
            Ok(Answer::Yes)
        }
        KeysCommand::List { project } => list_keys(world, output, project.as_deref()).await,
        KeysCommand::Disable { which } => switch(world, output, &which, true).await,
        KeysCommand::Enable { which } => switch(world, output, &which, false).await,
        KeysCommand::Rotate { project, source, disable_after } => {
            let wait = disable_after.map(|minutes| Duration::from_secs(60 * u64::from(minutes.get())));
            rotate(world, output, &project, &source, wait).await
        }
        KeysCommand::Register { which } => {
            let hash = hash(world, &which).await?;
            let was_missing = register(&world.events(), &hash).await?;
            let text = if was_missing { "it is in the list from now on" } else { "it is in the list already" };
            output.either(&json!({"id": id(&hash), "registered": was_missing}), text)?;
            Ok(Answer::Yes)
        }
        KeysCommand::Import { file, dry_run } => import_file(world, output, &file, dry_run).await,
    }
}

fn id(hash: &str) -> &str {
    hash.get(..ID_CHARS).unwrap_or(hash)
}

fn show_new(output: &mut Output, new: &NewKey) -> anyhow::Result<()> {
    let hash = write_key_hash(&new.key);
    let object = json!({
        "writeKey": new.key, "id": id(&hash), "hash": hash, "project": new.project, "source": new.source,
        "signed": new.secret.is_some(), "home": new.home,
    });
    let text = format!(
        "{}\n{}",
        styled(STRONG, &new.key),
        styled(
            FAINT,
            &format!(
                "the key of source {} of project {}, id {}; it is shown only now",
                new.source,
                new.project,
                id(&hash)
            )
        )
    );
    output.either(&object, &text)
}

async fn list_keys(world: &World, output: &mut Output, project: Option<&str>) -> anyhow::Result<Answer> {
    let keys = list(&world.events(), project).await?;
    if output.json {
        keys.iter().try_for_each(|key| output.object(key))?;
        return Ok(Answer::Yes);
    }
    let state = |key: &KeyEntry| match (key.gone, key.disabled) {
        (true, _) => "gone",
        (false, true) => "disabled",
        (false, false) => "in use",
    };
    let row = |key: &KeyEntry| {
        let created = key.created.as_deref().map_or_else(|| "-".to_owned(), harmless);
        let signed = key.signed.then_some("signed webhooks");
        let home = (key.home == Home::User).then_some("events live with their user");
        let more: Vec<&str> = signed.into_iter().chain(home).collect();
        vec![
            id(&key.hash).to_owned(),
            key.project.clone(),
            key.source.clone(),
            state(key).into(),
            created,
            more.join(", "),
        ]
    };
    output.table(&["ID", "PROJECT", "SOURCE", "STATE", "MADE", ""], &keys.iter().map(row).collect::<Vec<_>>())?;
    Ok(Answer::Yes)
}

/// The hash of the key that is meant.
async fn hash(world: &World, which: &WhichKey) -> anyhow::Result<String> {
    match (&which.id, &which.write_key) {
        (_, Some(key)) => Ok(write_key_hash(key)),
        (Some(id), None) => Ok(find(&world.events(), id).await?),
        (None, None) => bail!("say which key"),
    }
}

async fn switch(world: &World, output: &mut Output, which: &WhichKey, disabled: bool) -> anyhow::Result<Answer> {
    let hash = hash(world, which).await?;
    set_disabled(&world.write_keys(), &hash, disabled).await?;
    let text = if disabled {
        "disabled; ingest remembers keys, so that requests with it are refused within a minute"
    } else {
        "in use again; ingest remembers keys, so that requests with it are accepted within five seconds"
    };
    output.either(&json!({"id": id(&hash), "disabled": disabled}), text)?;
    Ok(Answer::Yes)
}

async fn rotate(
    world: &World,
    output: &mut Output,
    project: &str,
    source: &str,
    disable_after: Option<Duration>,
) -> anyhow::Result<Answer> {
    let table = world.events();
    let keys = list(&table, Some(project)).await?;
    let former: Vec<&KeyEntry> = keys.iter().filter(|key| key.source == source && key.is_in_use()).collect();
    let newest = former.iter().max_by_key(|key| &key.created);
    let Some(newest) = newest else {
        return Err(Error::NothingToRotate { project: project.to_owned(), source_name: source.to_owned() }.into());
    };
    let secret = secret_of(world, &newest.hash).await?;
    let (project, source) = (project.to_owned(), source.to_owned());
    let new = NewKey { key: random_key(), project, source, secret, home: newest.home };
    create(&table, &new, world.now()).await?;
    show_new(output, &new)?;
    let Some(wait) = disable_after else {
        if !output.json {
            for key in &former {
                let id = id(&key.hash);
                output.line(&format!(
                    "{id} still works; when nobody sends with it any more: holdfast keys disable {id}"
                ))?;
            }
        }
        return Ok(Answer::Yes);
    };
    if !output.json {
        output.line(&format!(
            "waiting for {} s before the former is disabled; Ctrl-C leaves it in use",
            wait.as_secs()
        ))?;
    }
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = interrupted() => return Ok(Answer::No),
    }
    for key in &former {
        set_disabled(&world.write_keys(), &key.hash, true).await?;
        output.either(&json!({"id": id(&key.hash), "disabled": true}), &format!("{} disabled", id(&key.hash)))?;
    }
    Ok(Answer::Yes)
}

/// The secret of the source's webhooks, which the new key has as well.
async fn secret_of(world: &World, hash: &str) -> anyhow::Result<Option<String>> {
    let key = Key { pk: write_key_partition(hash), sk: WRITE_KEY_SORT.to_owned() };
    let found = get_all(&world.events(), vec![key.clone()], None).await.map_err(|cause| Error::Unread { cause })?;
    let secret = found.get(&key).and_then(|item| item.get(write_key_attribute::SECRET)).and_then(Attribute::text);
    Ok(secret.filter(|secret| !secret.is_empty()).map(str::to_owned))
}

async fn import_file(world: &World, output: &mut Output, path: &Path, dry_run: bool) -> anyhow::Result<Answer> {
    let lines = match parse(&text_of(path)?) {
        Ok(lines) => lines,
        Err(problems) => {
            for problem in problems.iter().take(20) {
                anstream::eprintln!("{problem}");
            }
            bail!("{} of the file cannot be taken; nothing was imported", count(problems.len(), "line"));
        }
    };
    if dry_run {
        let object = json!({"dryRun": true, "keys": lines.len()});
        output.either(&object, &format!("{} would be imported", count(lines.len(), "key")))?;
        return Ok(Answer::Yes);
    }
    let progress = bar(lines.len() as u64, "keys", output.json);
    let imported = import(&world.events(), &lines, world.now(), |done| progress.set_position(done as u64)).await;
    progress.finish_and_clear();
    let imported = imported.map_err(|(line, error)| {
        anyhow::Error::from(error)
            .context(format!("line {line}; those before it are imported, and importing again is safe"))
    })?;
    let object = json!({"dryRun": false, "keys": lines.len(), "new": imported.new, "before": imported.before});
    output.either(&object, &format!("{} imported, {} there before", count(imported.new, "key"), imported.before))?;
    Ok(Answer::Yes)
}

/// The text of a file, or of the standard input.
fn text_of(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?)
    };
    let read = reader.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.with_context(|| format!("reading {}", path.display()))?;
    ensure!(read as u64 <= FILE_BYTES_MAX, "{} has more than {FILE_BYTES_MAX} bytes", path.display());
    Ok(text)
}

fn secret(path: &Path) -> anyhow::Result<String> {
    let secret = text_of(path)?.trim_end_matches(['\r', '\n']).to_owned();
    ensure!((1..=SECRET_BYTES_MAX).contains(&secret.len()), "a secret has 1 to {SECRET_BYTES_MAX} bytes");
    Ok(secret)
}

pub(crate) async fn projects(world: &World, output: &mut Output) -> anyhow::Result<Answer> {
    let keys = list(&world.events(), None).await?;
    let projects = cli::keys::projects(&keys);
    if output.json {
        projects.iter().try_for_each(|project| output.object(project))?;
        return Ok(Answer::Yes);
    }
    let row = |project: &cli::keys::Project| {
        let keys = format!("{} of {}", project.keys_in_use, project.keys);
        let sources = project.sources.iter().cloned().collect::<Vec<_>>().join(", ");
        vec![project.project.clone(), keys, sources]
    };
    output.table(&["PROJECT", "KEYS IN USE", "SOURCES"], &projects.iter().map(row).collect::<Vec<_>>())?;
    Ok(Answer::Yes)
}
