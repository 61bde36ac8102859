//! Queries in PromQL, taken apart.

use promql_parser::{
    label::Matcher,
    parser::{Expr, VectorSelector, parse},
};

/// What a query reads, and by which labels it groups and joins.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) grouped_by: Vec<String>,
}

/// One metric that is read.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Label, values. A list of values in a regular expression is taken apart.
    pub(crate) labels: Vec<(String, Vec<String>)>,
}

/// As it stands in a dashboard, with something for each of its variables.
pub(crate) fn filled_in(query: &str) -> String {
    let filled = query
        .replace("$__rate_interval", "30s")
        .replace("$namespace", ".*")
        .replace("$instance", ".*");
    assert!(!filled.contains('$'), "an unknown variable in {query}");
    filled
}

/// Everything that a query reads.
pub(crate) fn reads(query: &str) -> Reads {
    let mut reads = Reads::default();
    walk(&parsed(query), &mut reads);
    reads
}

/// The parts of an alert's query that have to answer something while all is well: what is compared, and
/// what is joined by `and`, `or` and `unless`.
pub(crate) fn operands(query: &str) -> Vec<String> {
    let mut operands = Vec::new();
    take_apart(&parsed(query), &mut operands);
    operands
}

fn parsed(query: &str) -> Expr {
    parse(query).unwrap_or_else(|error| panic!("{error} in {query}"))
}

fn take_apart(expression: &Expr, operands: &mut Vec<String>) {
    match expression {
        Expr::Paren(inner) => take_apart(&inner.expr, operands),
        Expr::Binary(binary)
            if binary.op.is_comparison_operator() || binary.op.is_set_operator() =>
        {
            take_apart(&binary.lhs, operands);
            take_apart(&binary.rhs, operands);
        }
        // It answers exactly when its argument does not.
        Expr::Call(call) if call.func.name == "absent" => {
            take_apart(&call.args.args[0], operands);
        }
        Expr::NumberLiteral(_)
        | Expr::Binary(_)
        | Expr::Call(_)
        | Expr::Aggregate(_)
        | Expr::Unary(_)
        | Expr::Subquery(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => {
            let mut reads = Reads::default();
            walk(expression, &mut reads);
            // A limit that is written as arithmetic reads nothing.
            if !reads.selectors.is_empty() {
                operands.push(expression.to_string());
            }
        }
    }
}

fn walk(expression: &Expr, reads: &mut Reads) {
    match expression {
        Expr::VectorSelector(selector) => reads.selectors.push(taken(selector)),
        Expr::MatrixSelector(matrix) => reads.selectors.push(taken(&matrix.vs)),
        Expr::Aggregate(aggregate) => {
            if let Some(grouping) = &aggregate.modifier {
                reads.grouped_by.extend(grouping.labels().labels.clone());
            }
            walk(&aggregate.expr, reads);
        }
        Expr::Binary(binary) => {
            let matching = binary
                .modifier
                .as_ref()
                .and_then(|how| how.matching.as_ref());
            if let Some(matching) = matching {
                reads.grouped_by.extend(matching.labels().labels.clone());
            }
            walk(&binary.lhs, reads);
            walk(&binary.rhs, reads);
        }
        Expr::Call(call) => call.args.args.iter().for_each(|one| walk(one, reads)),
        Expr::Paren(inner) => walk(&inner.expr, reads),
        Expr::Unary(inner) => walk(&inner.expr, reads),
        Expr::Subquery(inner) => walk(&inner.expr, reads),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => unreachable!("the parser makes none"),
    }
}

fn taken(selector: &VectorSelector) -> Selector {
    let label = |matcher: &Matcher| {
        let values = matcher.value.split('|').map(str::to_owned);
        (matcher.name.clone(), values.collect())
    };
    Selector {
        name: selector.name.clone().expect("a metric is named"),
        labels: selector.matchers.matchers.iter().map(label).collect(),
    }
}

#[test]
fn an_alert_is_taken_apart_into_what_has_to_answer_while_all_is_well() {
    let apart = |query: &str| operands(query);
    assert_eq!(apart("absent(a)"), ["a"]);
    assert_eq!(apart("a / (b > 0) > 0.85"), ["a / (b > 0)"]);
    assert_eq!(apart("a > 14.4 * 0.001"), ["a"]);
    assert_eq!(apart("a > 0.02 * b and a > 20"), ["a", "0.02 * b", "a"]);
    assert_eq!(
        apart("(sum(a) or 0 * c) < 256 unless on (x) (d > 0)"),
        ["sum(a)", "0 * c", "d"]
    );
}
