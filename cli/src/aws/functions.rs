//! What Lambda says of a function and its sources.

use std::collections::BTreeMap;

use super::{CallError, Clients};
use crate::doctor::{FunctionFacts, MappingFacts};

/// The alias that what invokes a function invokes.
const ALIAS: &str = "live";
/// The most pages of mappings that are read; a function of ours has one.
const PAGES_MAX: usize = 10;

impl Clients {
    /// What is known of a function, as its live version is.
    ///
    /// # Errors
    /// There is no such function, or a call failed.
    pub async fn function_facts(&self, name: &str) -> Result<FunctionFacts, CallError> {
        const CALL: &str = "lambda:GetFunctionConfiguration";
        let reply = self.lambda.get_function_configuration().function_name(name).qualifier(ALIAS).send().await;
        let reply = reply.map_err(|error| CallError::of(CALL, &error))?;
        let variables = reply.environment().and_then(|environment| environment.variables()).into_iter().flatten();
        let variables: BTreeMap<String, String> =
            variables.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(FunctionFacts {
            variables,
            memory_mib: reply.memory_size().and_then(|size| u32::try_from(size).ok()).unwrap_or(0),
            timeout_secs: reply.timeout().and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0),
            state: reply.state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
        })
    }

    /// What is known of the sources that a function is invoked from.
    ///
    /// # Errors
    /// A call failed.
    pub async fn mapping_facts(&self, function: &str) -> Result<Vec<MappingFacts>, CallError> {
        let (mut mappings, mut next) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = self.lambda.list_event_source_mappings().function_name(format!("{function}:{ALIAS}"));
            let reply = request.set_marker(next).send().await;
            let reply = reply.map_err(|error| CallError::of("lambda:ListEventSourceMappings", &error))?;
            mappings.extend(reply.event_source_mappings().iter().map(|mapping| {
                MappingFacts {
                    source_arn: mapping.event_source_arn().unwrap_or_default().to_owned(),
                    state: mapping.state().unwrap_or_default().to_owned(),
                    batch_size: mapping.batch_size().and_then(|size| u32::try_from(size).ok()),
                    reports_item_failures: mapping
                        .function_response_types()
                        .iter()
                        .any(|kind| kind.as_str() == "ReportBatchItemFailures"),
                    concurrency_max: mapping
                        .scaling_config()
                        .and_then(|scaling| scaling.maximum_concurrency())
                        .and_then(|most| u32::try_from(most).ok()),
                }
            }));
            next = reply.next_marker().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(mappings)
    }
}
