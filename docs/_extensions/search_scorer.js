/* How the search of the site ranks pages. The values are those of Sphinx, and `score` adds points for the folder of a
   page: an explanation comes before the reference, and the reference before pages for developers. */
const FOLDER_POINTS = {"structures/": 4, "guides/": 3, "gallery/": 2, "faq": 3, "api/": -3, "developers/": -6, "changelog": -10};

var Scorer = {
  score: ([page, title, anchor, description, score]) => {
    const folder = Object.keys(FOLDER_POINTS).find((folder) => page.startsWith(folder));
    return score + (folder ? FOLDER_POINTS[folder] : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
