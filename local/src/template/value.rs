//! CloudFormation's functions: every value of a template, resolved for one machine.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_yaml_ng::{Mapping, Value};

use super::{ACCOUNT, REGION, STACK_NAME, Settings};

/// How deep values, functions and conditions may nest or refer to one another; the template's own need six.
const DEPTH_MAX: usize = 32;

/// The last part of every stream's ARN, where AWS would put the time at which the stream was made.
const STREAM_LABEL: &str = "2026-01-01T00:00:00.000";

/// A template with everything that its values refer to.
pub(super) struct Evaluator {
    document: Value,
    parameters: BTreeMap<String, Value>,
    sqs_endpoint: String,
    depth: Cell<usize>,
}

impl Evaluator {
    /// Takes parameters from the settings or their defaults.
    pub(super) fn new(document: Value, settings: &Settings) -> anyhow::Result<Self> {
        let mut parameters = BTreeMap::new();
        if let Some(declared) = document.get("Parameters") {
            for (name, parameter) in mapping(declared).context("Parameters")? {
                let name = text(name)?;
                let value = match settings.parameters.get(name) {
                    Some(value) => allowed(value, parameter),
                    None => parameter.get("Default").cloned().context("it has no default and is not set"),
                };
                parameters.insert(name.to_owned(), value.with_context(|| format!("the parameter {name}"))?);
            }
        }
        for name in settings.parameters.keys() {
            ensure!(parameters.contains_key(name), "the template has no parameter {name}");
        }
        Ok(Self { document, parameters, sqs_endpoint: settings.sqs_endpoint.clone(), depth: Cell::new(0) })
    }

    /// The template's resources that are part of this stack, by their names.
    pub(super) fn resources(&self) -> anyhow::Result<Vec<(&str, &Value)>> {
        let mut resources = Vec::new();
        for (name, resource) in mapping(self.document.get("Resources").context("the template has no Resources")?)? {
            let name = text(name)?;
            let here = match resource.get("Condition") {
                Some(condition) => text(condition).and_then(|condition| self.condition(condition)),
                None => Ok(true),
            };
            if here.with_context(|| format!("{name}.Condition"))? {
                resources.push((name, resource));
            }
        }
        Ok(resources)
    }

    /// What `Globals.Function` gives every function, unresolved.
    pub(super) fn function_globals(&self) -> Option<&Value> {
        self.document.get("Globals").and_then(|globals| globals.get("Function"))
    }

    /// Resolves a value with all that it holds. `None` is `AWS::NoValue`, and is left out of lists and mappings.
    pub(super) fn resolve(&self, value: &Value) -> anyhow::Result<Option<Value>> {
        self.descend(|| match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Some(value.clone())),
            Value::Sequence(items) => {
                let items = items.iter().filter_map(|item| self.resolve(item).transpose());
                Ok(Some(Value::Sequence(items.collect::<anyhow::Result<_>>()?)))
            }
            Value::Mapping(entries) => {
                let mut resolved = Mapping::new();
                for (name, entry) in entries {
                    let context = || name.as_str().unwrap_or("a name that is no text").to_owned();
                    if let Some(entry) = self.resolve(entry).with_context(context)? {
                        resolved.insert(name.clone(), entry);
                    }
                }
                Ok(Some(Value::Mapping(resolved)))
            }
            Value::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                self.function(&tag, &tagged.value).context(tag)
            }
        })
    }

    fn function(&self, tag: &str, argument: &Value) -> anyhow::Result<Option<Value>> {
        match tag {
            "!Ref" => self.reference(text(argument)?),
            "!Sub" => Ok(Some(Value::String(self.substitute(text(argument)?)?))),
            "!GetAtt" => {
                let (logical_id, attribute) = text(argument)?.split_once('.').context("there is no attribute")?;
                Ok(Some(Value::String(self.attribute(logical_id, attribute)?)))
            }
            "!If" => match argument.as_sequence().map(Vec::as_slice) {
                Some([condition, yes, no]) => self.resolve(if self.condition(text(condition)?)? { yes } else { no }),
                _ => bail!("it takes a condition and two values"),
            },
            _ => bail!("this function is not known"),
        }
    }

    /// A parameter's value, a pseudo parameter, or what `!Ref` of a resource gives in AWS.
    fn reference(&self, name: &str) -> anyhow::Result<Option<Value>> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(value.clone()));
        }
        let value = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::StackName" => STACK_NAME.to_owned(),
            "AWS::Region" => REGION.to_owned(),
            "AWS::AccountId" => ACCOUNT.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            _ => match self.kind(name)? {
                "AWS::SQS::Queue" => format!("{}/{ACCOUNT}/{}", self.sqs_endpoint, self.name(name)?),
                _ => self.name(name)?,
            },
        };
        Ok(Some(Value::String(value)))
    }

    /// What `!GetAtt` of a resource gives in AWS.
    pub(super) fn attribute(&self, logical_id: &str, attribute: &str) -> anyhow::Result<String> {
        let kind = self.kind(logical_id)?;
        if (kind, attribute) == ("AWS::DynamoDB::Table", "StreamArn") {
            let properties = self.resource(logical_id)?.get("Properties");
            let stream = properties.and_then(|properties| properties.get("StreamSpecification"));
            ensure!(stream.is_some(), "{logical_id} has no StreamSpecification, and so no stream");
            return Ok(format!("{}/stream/{STREAM_LABEL}", self.attribute(logical_id, "Arn")?));
        }
        ensure!(attribute == "Arn", "{attribute} of {logical_id} is not known");
        let name = self.name(logical_id)?;
        Ok(match kind {
            "AWS::SQS::Queue" => format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"),
            "AWS::DynamoDB::Table" => format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"),
            "AWS::Serverless::Function" => format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"),
            _ => bail!("the ARN of {logical_id}, a {kind}, is not known"),
        })
    }

    /// A resource's name: the one that the template gives it, or one made of its stack and its logical id, where AWS
    /// would add some random letters.
    pub(super) fn name(&self, logical_id: &str) -> anyhow::Result<String> {
        let property = match self.kind(logical_id)? {
            "AWS::SQS::Queue" => "QueueName",
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::Serverless::Function" => "FunctionName",
            kind => bail!("the name of {logical_id}, a {kind}, is not known"),
        };
        let given = self.resource(logical_id)?.get("Properties").and_then(|properties| properties.get(property));
        let Some(given) = given else { return Ok(format!("{STACK_NAME}-{logical_id}")) };
        let resolved = self.resolve(given).with_context(|| format!("{logical_id}.{property}"))?;
        resolved
            .as_ref()
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(|| format!("{logical_id}.{property} is not a text"))
    }

    fn resource(&self, logical_id: &str) -> anyhow::Result<&Value> {
        let resources = self.document.get("Resources").context("the template has no Resources")?;
        resources.get(logical_id).with_context(|| format!("there is no parameter or resource {logical_id}"))
    }

    fn kind(&self, logical_id: &str) -> anyhow::Result<&str> {
        let kind = self.resource(logical_id)?.get("Type").and_then(Value::as_str);
        kind.with_context(|| format!("{logical_id}.Type is missing"))
    }

    /// Puts values in place of `${Name}` and `${Name.Attribute}`; `${!text}` stands for `${text}` itself.
    fn substitute(&self, text: &str) -> anyhow::Result<String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a ${ is not closed")?;
            result.push_str(before);
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str("${");
                result.push_str(literal);
                result.push('}');
            } else if let Some((logical_id, attribute)) = name.split_once('.') {
                result.push_str(&self.attribute(logical_id, attribute)?);
            } else {
                let value = self.reference(name)?.with_context(|| format!("{name} has no value"))?;
                result.push_str(&scalar(&value)?);
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn condition(&self, name: &str) -> anyhow::Result<bool> {
        let conditions = self.document.get("Conditions");
        let rule = conditions.and_then(|conditions| conditions.get(name));
        let rule = rule.with_context(|| format!("there is no condition {name}"))?;
        self.rule(rule).with_context(|| format!("the condition {name}"))
    }

    fn rule(&self, rule: &Value) -> anyhow::Result<bool> {
        let Value::Tagged(tagged) = rule else { bail!("it is not a function") };
        let tag = tagged.tag.to_string();
        let arguments = tagged.value.as_sequence().map(Vec::as_slice).unwrap_or_default();
        self.descend(|| match (tag.as_str(), arguments) {
            ("!Equals", [left, right]) => {
                let (left, right) = (self.resolve(left)?, self.resolve(right)?);
                let (left, right) = left.zip(right).context("AWS::NoValue cannot be compared")?;
                Ok(scalar(&left)? == scalar(&right)?)
            }
            ("!Not", [inner]) => Ok(!self.rule(inner)?),
            ("!And", [_, _, ..]) => arguments.iter().try_fold(true, |all, inner| Ok(all & self.rule(inner)?)),
            ("!Or", [_, _, ..]) => arguments.iter().try_fold(false, |any, inner| Ok(any | self.rule(inner)?)),
            ("!Condition", _) => self.condition(text(&tagged.value)?),
            _ => bail!("{tag} is not known or does not take these arguments"),
        })
    }

    fn descend<T>(&self, evaluate: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let depth = self.depth.get();
        ensure!(depth < DEPTH_MAX, "the values refer to one another in a circle or are nested too deep");
        self.depth.set(depth + 1);
        let result = evaluate();
        self.depth.set(depth);
        result
    }
}

/// A value from outside, if the parameter's declaration allows it.
fn allowed(value: &str, parameter: &Value) -> anyhow::Result<Value> {
    if let Some(allowed) = parameter.get("AllowedValues").and_then(Value::as_sequence) {
        let known = allowed.iter().any(|known| scalar(known).is_ok_and(|known| known == value));
        ensure!(known, "{value:?} is not one of its values");
    }
    if parameter.get("Type").and_then(Value::as_str) == Some("Number") {
        let number: i64 = value.parse().with_context(|| format!("{value:?} is not a whole number"))?;
        let least = parameter.get("MinValue").and_then(Value::as_i64).unwrap_or(i64::MIN);
        let most = parameter.get("MaxValue").and_then(Value::as_i64).unwrap_or(i64::MAX);
        ensure!((least..=most).contains(&number), "{number} is not a number from {least} to {most}");
    }
    Ok(Value::String(value.to_owned()))
}

/// A value as a mapping.
pub(super) fn mapping(value: &Value) -> anyhow::Result<&Mapping> {
    value.as_mapping().context("it is not a mapping")
}

/// A value as a text.
pub(super) fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("it is not a text")
}

/// A text, number or boolean as CloudFormation passes it on: always a text.
pub(super) fn scalar(value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            bail!("it is not a text, a number or a boolean")
        }
    }
}
