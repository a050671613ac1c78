// Turns vitest's JSON report into the lines that close a test run.
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

// Enough for an assertion with its two values; a stack is in the output above.
const longestMessage = 600;

/**
 * `lines` name each failure with its message, one `FAILED` line each, and end with
 * `N passed, N failed` (`, N skipped` when some were). A test file that broke outside its tests
 * counts as one failure, and so does a run that failed without saying where.
 */
export function countTests({ resultsFile, exitCode, skipsFail }) {
  const files = readResults(resultsFile);
  const tests = files.flatMap((file) => file.assertionResults);
  const passed = tests.filter(({ status }) => status === 'passed').length;
  const failedTests = files.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => [name, fullName, shorten(failureMessages[0])]),
  );
  const brokenFiles = files.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');

  const lines = failedTests.map(
    ([name, fullName, message]) => `FAILED: ${relative('', name)}: ${fullName}: ${message}`,
  );
  lines.push(
    ...brokenFiles.map(
      ({ name, message }) => `FAILED outside its tests: ${relative('', name)}: ${shorten(message)}`,
    ),
  );
  let failed = failedTests.length + brokenFiles.length;
  if (skipsFail) {
    failed += skipped.length;
    lines.push(...skipped.map(({ fullName }) => `FAILED because it was skipped: ${fullName}`));
  }
  if (failed === 0 && (exitCode !== 0 || passed === 0)) {
    failed = 1;
    lines.push(passed === 0 ? 'FAILED: no test ran' : 'FAILED: the run broke outside the tests');
  }
  const skippedPart = skipped.length > 0 && !skipsFail ? `, ${skipped.length} skipped` : '';
  lines.push(`${passed} passed, ${failed} failed${skippedPart}`);
  return { lines, exitCode: failed > 0 ? exitCode || 1 : 0 };
}

/** A message on one line, without colours and without the stack. */
function shorten(message = '') {
  const withoutStack = stripVTControlCharacters(message).split(/\n\s+at /)[0];
  return withoutStack.replaceAll(/\s+/g, ' ').trim().slice(0, longestMessage);
}

function readResults(resultsFile) {
  try {
    return JSON.parse(readFileSync(resultsFile, 'utf8')).testResults;
  } catch {
    return [];
  }
}
