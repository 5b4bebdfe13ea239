// How Sphinx's search ranks its results (html_search_scorer): as it comes, but chapters before the
// library's reference, whose many names would hide them.
var Scorer = {
  score: ([docname, , , , score]) => (docname === "book/api" ? score - 30 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
