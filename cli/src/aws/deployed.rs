//! What CloudFormation knows of a stack.

use super::{CallError, Clients};
use crate::stack::Outputs;

impl Clients {
    /// Outputs, parameters and status of a stack.
    ///
    /// # Errors
    /// There is none of that name, or the call failed.
    pub async fn outputs(&self, stack: &str) -> Result<Outputs, CallError> {
        const CALL: &str = "cloudformation:DescribeStacks";
        let reply = self.cloudformation.describe_stacks().stack_name(stack).send().await;
        let reply = reply.map_err(|error| CallError::of(CALL, &error))?;
        let found = reply.stacks().first().ok_or_else(|| CallError::incomplete(CALL, "it tells of no stack"))?;
        let pair = |(name, value): (Option<&str>, Option<&str>)| Some((name?.to_owned(), value?.to_owned()));
        let outputs = found.outputs().iter().map(|output| (output.output_key(), output.output_value()));
        let parameters =
            found.parameters().iter().map(|parameter| (parameter.parameter_key(), parameter.parameter_value()));
        Ok(Outputs {
            outputs: outputs.filter_map(pair).collect(),
            parameters: parameters.filter_map(pair).collect(),
            status: found.stack_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
        })
    }
}
