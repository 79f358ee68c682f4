//! [`LoadedScript`]: what a script has made, read from the head of its worker's answer.

use super::plans::DescribedFlow;
use super::registry::described::DescribedRegistration;
use crate::python::marshal::Value;

/// The flows and registrations that a script has made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoadedScript {
    pub(super) flows: Vec<DescribedFlow>,
    /// The flow that is to run now, for whoever waits.
    pub(super) run: Option<DescribedFlow>,
    /// The flow that is to run beside registrations, for nobody.
    pub(super) aside: Option<DescribedFlow>,
    /// The registrations in the order in which they were made.
    pub(super) registrations: Vec<DescribedRegistration>,
    /// The number of builders that it has made and that have not been counted.
    pub(super) builders: u64,
}

/// Reads what a script has made; [`None`] for what no worker says.
pub(super) fn loaded(head: &Value) -> Option<LoadedScript> {
    let flows: Vec<DescribedFlow> =
        head.get("flows")?.items()?.iter().map(DescribedFlow::read).collect::<Option<_>>()?;
    let named = |key: &Value| match key {
        Value::None => Some(None),
        key => Some(Some(flows.iter().find(|flow| Some(flow.key.as_str()) == key.as_text())?.clone())),
    };
    let registrations = head.get("registrations")?.items()?.iter().map(DescribedRegistration::read);
    Some(LoadedScript {
        run: named(head.get("run")?)?,
        aside: named(head.get("aside")?)?,
        registrations: registrations.collect::<Option<_>>()?,
        builders: head.get("builders")?.as_count()?,
        flows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::gears::plans::tests::flow;

    #[test]
    fn what_is_no_flow_is_told() {
        let loaded_of = |run: Value, flows: Vec<Value>| {
            let nothing = || Value::List(vec![]);
            let said = [("flows", Value::List(flows)), ("run", run), ("aside", Value::None)];
            loaded(&Value::dict(said.into_iter().chain([("registrations", nothing()), ("builders", 1.into())])))
        };
        let script = loaded_of(Value::None, vec![flow(&["stay"])]).unwrap();
        assert_eq!((script.flows.len(), script.run, script.builders), (1, None, 1));
        let run = loaded_of("k-1".into(), vec![flow(&["stay"])]).unwrap().run.unwrap();
        assert_eq!((run.key.as_str(), run.blob.as_ref(), run.is_local), ("k-1", &b"blob"[..], false));
        assert_eq!(run.parts(vec!["a".into()]).steps[1].kind, "collect");
        assert!(loaded_of("k-2".into(), vec![flow(&["stay"])]).is_none());
        assert!(loaded_of(Value::None, vec![flow(&["elsewhere"])]).is_none());
        assert!(loaded_of(Value::None, vec![flow(&[])]).is_none() && loaded(&Value::None).is_none());
    }
}
